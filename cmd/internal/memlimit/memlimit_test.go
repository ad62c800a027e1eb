package memlimit

import (
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/stretchr/testify/assert"
)

func TestLimit(t *testing.T) {
	t.Parallel()
	none := func() (uint64, error) { return 0, memlimit.ErrNoLimit }
	for name, test := range map[string]struct {
		container memlimit.Provider
		want      int64
	}{
		"no container":      {none, 1000},
		"a small container": {memlimit.Limit(500), 450},
		"a large container": {memlimit.Limit(2000), 1000},
	} {
		assert.Equal(t, test.want, limit(1000, test.container), name)
	}
}

func TestSet(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "1GiB")
	Set(1 << 30)
	assert.Equal(t, before, debug.SetMemoryLimit(-1), "GOMEMLIMIT is set")
	t.Setenv("GOMEMLIMIT", "")
	Set(1 << 30)
	assert.LessOrEqual(t, debug.SetMemoryLimit(-1), int64(1<<30))
}
