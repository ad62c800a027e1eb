// Package memlimit limits the memory of the programs of this module.
package memlimit

import (
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Set sets Go's memory limit to maximum, or to 90% of the container's limit if
// that is less. The rest is for memory that Go's limit does not count. The
// variable GOMEMLIMIT overrides it.
func Set(maximum int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit(maximum, memlimit.FromCgroup))
	}
}

// limit ignores the error of container: without a container there is no limit.
func limit(maximum int64, container memlimit.Provider) int64 {
	bytes, err := container()
	if err != nil {
		return maximum
	}
	return int64(min(uint64(maximum), bytes/10*9)) //nolint:gosec // at most maximum
}
