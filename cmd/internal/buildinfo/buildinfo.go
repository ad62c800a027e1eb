// Package buildinfo names the version of the programs of this module.
package buildinfo

import "runtime/debug"

// version is set by the linker where there is no repository to read it from,
// as in the Dockerfile.
var version string

// Version returns the version that was linked in, or else the one that the go
// command takes from the repository, such as
// v0.0.0-20261125010203-0123456789ab+dirty.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
