package container

import (
	"reflect"
	"testing"
)

func TestParseLabels(t *testing.T) {
	tests := []struct {
		name string
		in   map[string]string
		want Labels
	}{
		{"none", nil, Labels{}},
		{
			"other programs",
			map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "x": "y"},
			Labels{ComposeProject: "shop", ComposeService: "web"},
		},
		{
			"generated",
			map[string]string{LabelManaged: "true", LabelKind: "ram", LabelLoad: "high", LabelGenerator: "g", LabelBatch: "1"},
			Labels{Managed: true, Kind: KindRAM, Load: "high"},
		},
		{"protected", map[string]string{LabelProtect: "true"}, Labels{Protected: true}},
		{"explicitly false", map[string]string{LabelProtect: "false", LabelManaged: "false"}, Labels{}},
		{"monitoring", map[string]string{LabelSchemaGroup: "monitoring"}, Labels{Monitoring: true}},
		{"misspelt protect protects", map[string]string{LabelProtect: "ture"}, Labels{Protected: true, Errors: []string{LabelProtect}}},
		{"misspelt managed is not managed", map[string]string{LabelManaged: "True"}, Labels{Errors: []string{LabelManaged}}},
		{"misspelt kind has none", map[string]string{LabelKind: "memory"}, Labels{Errors: []string{LabelKind}}},
		{
			"misspelt keys",
			map[string]string{"estiba.protected": "true", "estiba.knd": "cpu"},
			Labels{Errors: []string{"estiba.knd", "estiba.protected"}},
		},
		{"misspelt load", map[string]string{LabelLoad: "huge"}, Labels{Errors: []string{LabelLoad}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseLabels(tt.in); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("ParseLabels(%v)\n got %+v\nwant %+v", tt.in, got, tt.want)
			}
		})
	}
}

func TestShortID(t *testing.T) {
	for in, want := range map[string]string{"": "", "pid-7": "pid-7", "0123456789abcdef": "0123456789ab"} {
		if got := ShortID(in); got != want {
			t.Errorf("ShortID(%q) = %q, want %q", in, got, want)
		}
	}
}
