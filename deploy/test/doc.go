// Package manifests checks the manifests of the folders beside it without a cluster: that they build, that an API
// server would take them, that what names something names something that exists, and that nothing is left open.
//
// Every check is a function that returns an error with all it found, so that the tests run the same functions over the
// manifests as they are, which must pass, and over copies with one thing broken, which must not.
package manifests
