// Package common stands in for the package of a cloud's SDK that flannel's backend tencent-vpc is compiled with. The
// module proxy does not have that one. It knows the names that the backend uses, and is never run: no test uses that
// backend.
package common

// BoolPtr returns a pointer to v.
func BoolPtr(v bool) *bool { return &v }

// StringPtr returns a pointer to v.
func StringPtr(v string) *string { return &v }

// StringPtrs returns a pointer to each of vals.
func StringPtrs(vals []string) []*string {
	ptrs := make([]*string, len(vals))
	for i := range vals {
		ptrs[i] = &vals[i]
	}
	return ptrs
}
