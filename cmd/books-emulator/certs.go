package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// certs writes the files for a Kubernetes Secret and a ConfigMap to a new
// folder, so that it overwrites nothing.
func certs(dir string, stdout io.Writer) error {
	certPEM, keyPEM, caPEM, err := googlebookstest.NewCertificate(googlebookstest.Leaf{})
	if err != nil {
		return err
	}
	dir = filepath.Clean(dir)
	if err = os.MkdirAll(filepath.Dir(dir), 0o750); err == nil {
		err = os.Mkdir(dir, 0o750)
	}
	if err != nil {
		return fmt.Errorf("--out: %w; name a folder that does not exist yet", err)
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "ca.pem"), caPEM, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.crt"), certPEM, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), keyPEM, 0o600),
	); err != nil {
		return err
	}
	fmt.Fprintf(stdout, `Wrote ca.pem, tls.crt and tls.key to %[1]s, valid for a year.
For Kubernetes, after applying deploy/offline/emulator:
  kubectl create secret tls books-emulator-tls -n books-emulator --cert=%[1]s/tls.crt --key=%[1]s/tls.key
  kubectl create configmap books-emulator-ca --from-file=%[1]s/ca.pem
`, dir)
	return nil
}
