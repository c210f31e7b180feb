// Package suites runs the tests that need another kernel than this machine's: those whose names begin with TestGuest,
// wherever in the module they are, in a virtual machine for each of the kernels. It finds them by their names, and sees
// to it that every one of them ran, was not skipped and passed. What they test is not its business.
package suites
