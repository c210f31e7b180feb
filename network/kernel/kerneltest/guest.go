package kerneltest

import (
	"flag"
	"fmt"
	"os"
)

// GuestPrefix begins the names of tests that need a kernel with every kind of device that backends make. This machine's may
// lack some, so they run in virtual machines alone, where the tests of lab/vm/suites take them.
const GuestPrefix = "TestGuest"

// guestEnv is set where tests run in such a machine: lab/vm sets it.
const guestEnv = "WEFT_VM"

// InGuest tells whether the tests run in a virtual machine of lab/vm.
func InGuest() bool { return os.Getenv(guestEnv) != "" }

// LeaveToGuests leaves tests with GuestPrefix out of the selection, unless they run in a guest. A TestMain that is not Main calls it
// before it runs the tests.
func LeaveToGuests() error {
	if InGuest() {
		return nil
	}
	flag.Parse()
	skip := "^" + GuestPrefix
	if given := flag.Lookup("test.skip").Value.String(); given != "" {
		skip = given + "|" + skip
	}
	if err := flag.Set("test.skip", skip); err != nil {
		return fmt.Errorf("leave tests to virtual machines: %w", err)
	}
	return nil
}
