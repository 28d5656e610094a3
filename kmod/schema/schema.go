// Package schema contains the JSON Schema of the document that the kernel module
// and the exporter's dump command write.
package schema

import _ "embed"

// V1 is the JSON Schema (draft 2020-12) of document version 1, as text.
//
//go:embed v1.json
var V1 []byte
