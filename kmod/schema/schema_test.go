package schema_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/estiba/estiba/kmod/schema"
)

// documentsEnv is the environment variable with a directory of documents from a real
// kernel; the test in test/machine/qemu sets it.
const documentsEnv = "ESTIBA_DOCUMENTS"

func validate(s *jsonschema.Schema, data []byte) error {
	// Go's parser accepts invalid UTF-8; others do not.
	if !utf8.Valid(data) {
		return errors.New("not UTF-8")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.V1))
	if err != nil {
		t.Fatalf("parse v1.json: %v", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("v1.json", doc); err != nil {
		t.Fatalf("add v1.json: %v", err)
	}
	s, err := c.Compile("v1.json")
	if err != nil {
		t.Fatalf("compile v1.json: %v", err)
	}
	return s
}

func files(t *testing.T, pattern string, atLeast int) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < atLeast {
		t.Fatalf("%s: %d files, want at least %d", pattern, len(names), atLeast)
	}
	return names
}

func TestSamplesAreValid(t *testing.T) {
	s := compiled(t)
	for _, name := range files(t, "samples/*.json", 6) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(s, data); err != nil {
				t.Errorf("rejected: %v", err)
			}
		})
	}
}

func TestInvalidSamplesAreRejected(t *testing.T) {
	s := compiled(t)
	for _, name := range files(t, "samples/invalid/*.json", 15) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(s, data); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// TestKernelDocuments checks the documents of a booted kernel in the directory of
// documentsEnv, by default the samples. An empty directory is a failure.
func TestKernelDocuments(t *testing.T) {
	dir := os.Getenv(documentsEnv)
	if dir == "" {
		dir = "samples"
	}
	s := compiled(t)
	for _, name := range files(t, filepath.Join(dir, "*.json"), 1) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(s, data); err != nil {
				t.Errorf("rejected: %v", err)
			}
		})
	}
}
