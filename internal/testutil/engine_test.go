package testutil_test

import (
	"context"
	"testing"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

func TestEngine(t *testing.T) {
	e := testutil.StartEngine(t)
	c := e.Client(t)
	list, err := c.List(context.Background(), dockerclient.ListOptions{All: true})
	if err != nil || len(list) != 0 {
		t.Fatalf("a new engine has containers %v, %v", list, err)
	}
	e.Stop(t)
	if err := c.Ping(context.Background()); err == nil {
		t.Fatal("a stopped engine responds")
	}
	e.Start(t)
	if err := c.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
}
