// Package weft is the top of the tree. It holds no code, only the tests of what is true of the tree as a whole: which
// package may import which, what names look like, and that the documentation and the files in dist are right.
package weft
