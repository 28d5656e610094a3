package dockerclient_test

import (
	"errors"
	"testing"

	"github.com/estiba/estiba/internal/dockerclient"
)

func TestIsNotFound(t *testing.T) {
	for text, want := range map[string]bool{
		"inspecting container f1b8: Error response from daemon: container f1b8 does not exist in database: no such container": true,
		"Error response from daemon: the image of web says: no such container here":                                           false,
		"": false,
	} {
		if got := dockerclient.IsNotFound(errors.New(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if dockerclient.IsNotFound(nil) {
		t.Error("no error")
	}
}
