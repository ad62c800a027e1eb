package googlebookstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"time"
)

// Leaf describes a server's certificate. The zero value is a valid certificate
// for Google's host name.
type Leaf struct {
	// Names are its host names and IP addresses. If empty: www.googleapis.com,
	// localhost, 127.0.0.1 and ::1.
	Names []string
}

// NewCertificate returns a server's certificate, its private key and the
// certificate of the new CA that issued it, all in PEM. Nobody keeps the CA's
// key, so the CA can sign nothing else.
func NewCertificate(leaf Leaf) (certPEM, keyPEM, caPEM []byte, err error) {
	ca, err := sign(&x509.Certificate{
		Subject:        pkix.Name{CommonName: "books-emulator CA"},
		IsCA:           true,
		MaxPathLenZero: true,
		KeyUsage:       x509.KeyUsageCertSign,
	}, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "books-emulator"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(leaf.Names) == 0 {
		leaf.Names = []string{"www.googleapis.com", "localhost", "127.0.0.1", "::1"}
	}
	for _, name := range leaf.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	cert, err := sign(template, ca)
	if err != nil {
		return nil, nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	certPEM, caPEM = pemBlock("CERTIFICATE", cert.Leaf.Raw), pemBlock("CERTIFICATE", ca.Leaf.Raw)
	return certPEM, pemBlock("PRIVATE KEY", keyDER), caPEM, err
}

// sign returns a certificate for a new key, valid for a year: some platforms
// refuse more. If issuer is nil, it is self-signed.
func sign(template *x509.Certificate, issuer *tls.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.AddDate(1, 0, 0) // a client's clock may be behind
	template.BasicConstraintsValid = true
	if issuer == nil {
		issuer = &tls.Certificate{Leaf: template, PrivateKey: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Leaf, key.Public(), issuer.PrivateKey)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &tls.Certificate{Leaf: cert, PrivateKey: key}, err
}

func pemBlock(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}
