package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"example.com/bookinfo/googlebooks/googlebookstest"
)

// certs is the subcommand that makes the files for a Kubernetes Secret and ConfigMap. The CA's key is not kept: nothing
// else can ever be signed with it.
func certs(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("certs", flag.ContinueOnError)
	dir := flags.String("out", "", "")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *dir == "" {
		return usageErrorf("certs: --out DIR says where to write ca.pem, tls.crt and tls.key")
	}

	ca, err := googlebookstest.NewCA()
	if err != nil {
		return err
	}
	certPEM, keyPEM, err := ca.Issue(googlebookstest.Leaf{})
	if err != nil {
		return err
	}
	files := []struct {
		name string
		data []byte
		mode os.FileMode
	}{
		{"ca.pem", ca.PEM, 0o644},
		{"tls.crt", certPEM, 0o644},
		{"tls.key", keyPEM, 0o600},
	}
	if err := os.MkdirAll(*dir, 0o750); err != nil {
		return err
	}
	// All or nothing: the three belong together.
	for _, file := range files {
		path := filepath.Join(*dir, file.name)
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("certs: %s is there already, and is not overwritten", path)
		}
	}
	for _, file := range files {
		if err := create(filepath.Join(*dir, file.name), file.data, file.mode); err != nil {
			return err
		}
	}

	fmt.Fprintf(stdout, `Wrote ca.pem, tls.crt and tls.key to %[1]s, valid for a year. For Kubernetes, once deploy/offline/emulator/namespace.yaml is applied:
  kubectl create secret tls books-emulator-tls -n books-emulator --cert=%[1]s/tls.crt --key=%[1]s/tls.key
  kubectl create configmap books-emulator-ca --from-file=%[1]s/ca.pem
`, filepath.Clean(*dir))

	return nil
}

// create writes a new file; it fails where there is one, or a link to one.
func create(path string, data []byte, mode os.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)

	return errors.Join(err, file.Close())
}
