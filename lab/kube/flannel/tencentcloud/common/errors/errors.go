// Package errors stands in for the SDK's package of errors, as package common does for the rest of it.
package errors

// TencentCloudSDKError is the SDK's error. Nothing makes one here.
type TencentCloudSDKError struct{}

// Error says that there is no SDK.
func (*TencentCloudSDKError) Error() string {
	return "this flanneld was built without the SDK of this cloud"
}
