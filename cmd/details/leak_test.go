package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// asProgram makes the test's binary the program itself, race detector and all,
// for what only a process has: signals, and an environment read once for good.
const asProgram = "TEST_AS_DETAILS"

// TestMain fails the package if a goroutine outlives its tests.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}
