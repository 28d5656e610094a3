package config

import "github.com/estiba/estiba/manager/policies"

// LoadOrBuiltIn reads the policy file at path, or the built-in policy if path is "".
func LoadOrBuiltIn(path string) (*Config, error) {
	if path == "" {
		return Parse(policies.OneOfEachKind)
	}
	return Load(path)
}

// PolicyName is how a policy file is named in logs and output.
func PolicyName(path string) string {
	if path == "" {
		return "built-in one-of-each-kind"
	}
	return path
}
