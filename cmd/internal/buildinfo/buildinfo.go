// Package buildinfo reports the version of the programs of this module.
package buildinfo

import "runtime/debug"

// version is set by the linker if there is no repository to read it from, as in
// the Dockerfile.
var version string

// Version returns the version that the linker set or, without one, the version
// that the go command read from the repository, such as
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
