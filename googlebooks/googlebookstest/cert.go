package googlebookstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"time"
)

const (
	// validity is a year: some platforms refuse longer certificates.
	validity = 365 * 24 * time.Hour
	// clockSkew makes a certificate valid for clocks that are behind.
	clockSkew = time.Hour
)

// CA is a certificate authority for tests, valid for a year. Its key is only in
// memory.
type CA struct {
	PEM []byte // its certificate, for clients to trust

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Leaf describes a server's certificate. The zero value is valid for a stand-in
// for Google Books.
type Leaf struct {
	// Names are host names and IP addresses. If empty: www.googleapis.com,
	// localhost, 127.0.0.1 and ::1.
	Names []string
	// NotBefore and NotAfter bound its validity. If zero: from an hour ago, or an
	// hour before NotAfter if that is earlier, to the end of the CA.
	NotBefore, NotAfter time.Time
}

// NewCA returns a CA with a new ECDSA P-256 key.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "books-emulator CA"},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(validity),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("CA certificate: %w", err)
	}
	return &CA{PEM: pemBlock("CERTIFICATE", der), cert: cert, key: key}, nil
}

// Issue returns a server's certificate and its new ECDSA P-256 key in PEM, as
// tls.X509KeyPair takes them.
func (ca *CA) Issue(leaf Leaf) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("key: %w", err)
	}
	if len(leaf.Names) == 0 {
		leaf.Names = []string{"www.googleapis.com", "localhost", "127.0.0.1", "::1"}
	}
	if leaf.NotAfter.IsZero() {
		leaf.NotAfter = ca.cert.NotAfter
	}
	if leaf.NotBefore.IsZero() {
		leaf.NotBefore = time.Now().Add(-clockSkew)
		if !leaf.NotBefore.Before(leaf.NotAfter) {
			leaf.NotBefore = leaf.NotAfter.Add(-clockSkew)
		}
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "books-emulator"},
		NotBefore:             leaf.NotBefore,
		NotAfter:              leaf.NotAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range leaf.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("key: %w", err)
	}
	return pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", keyDER), nil
}

func pemBlock(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}
