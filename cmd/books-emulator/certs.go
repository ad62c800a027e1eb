package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// certs is the subcommand that makes the files for a Kubernetes Secret and a
// ConfigMap. It does not keep the CA's key, so the CA can sign nothing else.
func certs(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("certs", flag.ContinueOnError)
	out := flags.String("out", "", "")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *out == "" {
		return usageErrorf("missing --out DIR, the folder for ca.pem, tls.crt and tls.key")
	}
	dir := filepath.Clean(*out)

	ca, err := googlebookstest.NewCA()
	if err != nil {
		return err
	}
	certPEM, keyPEM, err := ca.Issue(googlebookstest.Leaf{})
	if err != nil {
		return err
	}
	files := map[string][]byte{"ca.pem": ca.PEM, "tls.crt": certPEM, "tls.key": keyPEM}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	// All three or none: they belong together.
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s already exists", filepath.Join(dir, name))
		}
	}
	for name, data := range files {
		mode := os.FileMode(0o644)
		if name == "tls.key" {
			mode = 0o600
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, mode); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, `Wrote ca.pem, tls.crt and tls.key to %[1]s, valid for a year.
For Kubernetes, after applying deploy/offline/emulator:
  kubectl create secret tls books-emulator-tls -n books-emulator --cert=%[1]s/tls.crt --key=%[1]s/tls.key
  kubectl create configmap books-emulator-ca --from-file=%[1]s/ca.pem
`, dir)
	return nil
}
