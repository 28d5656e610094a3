package main

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
)

func TestCertificates(t *testing.T) {
	var out bytes.Buffer
	if err := writeCertificates(&out); err != nil {
		t.Fatal(err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(out.Bytes()) {
		t.Error("Go reads no certificate in it")
	}
	// Mozilla trusts more than a hundred.
	if n := strings.Count(out.String(), "-----BEGIN CERTIFICATE-----"); n < 80 {
		t.Errorf("%d certificates", n)
	}
}
