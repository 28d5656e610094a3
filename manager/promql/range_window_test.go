package promql

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Labels unknown to the exporter are unknown in the past as well, and recorded series
// are as old as their rule's interval.
func TestRangeWindowUnknownLabels(t *testing.T) {
	m := Moments{Start: now, Step: 10 * time.Second, N: 2}
	matrix := func(series ...string) string {
		return `{"status":"success","data":{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}}`
	}
	one := func(values [2]string, labels string) string {
		var list []string
		for i, v := range values {
			if v != "" {
				list = append(list, fmt.Sprintf("[%d,%q]", m.At(i).Unix(), v))
			}
		}
		return fmt.Sprintf(`{"metric":{%s},"values":[%s]}`, labels, strings.Join(list, ","))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.FormValue("query")
		switch {
		case strings.HasSuffix(r.URL.Path, "/rules"):
			fmt.Fprint(w, groups(group(5, rule("x:cpu", "cpu", "ok", time.Hour))))
		case strings.HasPrefix(q, snapshotName+"["):
			var list []string
			for s := 600; s >= -10; s -= 5 {
				list = append(list, fmt.Sprintf(`[%d,"%d.25"]`, now.Unix()-int64(s), now.Unix()-int64(s)-1))
			}
			fmt.Fprint(w, matrix(fmt.Sprintf(`{"metric":{},"values":[%s]}`, strings.Join(list, ","))))
		case strings.Contains(q, "estiba_container_info"):
			const info = `"__name__":"estiba_container_info","id":"%s","managed":"%s"`
			fmt.Fprint(w, matrix(
				one([2]string{"1", ""}, fmt.Sprintf(info, "aaaaaaaaaaaa", "")), one([2]string{"", "1"}, fmt.Sprintf(info, "aaaaaaaaaaaa", "true")),
				one([2]string{"1", "1"}, fmt.Sprintf(info, "bbbbbbbbbbbb", "false"))))
		case q == "x:cpu":
			fmt.Fprint(w, matrix(one([2]string{"1", "1"}, `"id":"aaaaaaaaaaaa"`), one([2]string{"1", "1"}, `"id":"bbbbbbbbbbbb"`)))
		default:
			fmt.Fprint(w, matrix())
		}
	}))
	defer server.Close()
	c, err := New(server.URL, "", "", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	ch, err := c.RangeWindow(context.Background(), queriesOf(parse(t, "x:cpu", "")), m)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]bool{{false, true}, {true, true}} {
		r := ch.Answers(i)[0]
		if r.Err != nil || len(r.Answer.Samples) != 2 {
			t.Fatalf("%+v", r)
		}
		for k, s := range r.Answer.Samples {
			if s.LabelsKnown != want[k] {
				t.Errorf("at %d: labels of %s known: %v", i, s.ID, s.LabelsKnown)
			}
		}
		if got := m.At(i).Sub(r.Answer.At); got != 5750*time.Millisecond {
			t.Errorf("at %d: the snapshot is %s old", i, got)
		}
		list, err := ch.Containers(i)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 2 {
			t.Errorf("at %d: %+v", i, list)
		}
	}
	if _, err := c.RangeWindow(context.Background(), queriesOf(parse(t, "a @ end()", "")), m); err == nil {
		t.Error("@ end() was asked about the past")
	}
}
