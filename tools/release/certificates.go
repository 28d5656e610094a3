package main

import (
	"encoding/pem"
	"errors"
	"io"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// writeCertificates writes the roots that Mozilla trusts, as the pinned module has
// them: those of the building host would make an image depend on it. A root that
// Mozilla trusts with a constraint is left out, as PEM has no place for one.
func writeCertificates(out io.Writer) error {
	written := 0
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return err
		}
		written++
	}
	if written == 0 {
		return errors.New("certificates: the module has none")
	}
	return nil
}
