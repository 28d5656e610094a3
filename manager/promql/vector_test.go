package promql

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The two keys of a result may be in any order.
func TestParseInstantInAnyOrder(t *testing.T) {
	for body, want := range map[string]string{
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"id":"a"},"value":[1800000000,"3"]}]}}`:                        `[{{id="a"} 3}]`,
		`{"data":{"result":[{"value":[1800000000.5,"3"],"metric":{"id":"a"}}],"stats":{},"resultType":"vector"},"status":"success"}`:           `[{{id="a"} 3}]`,
		`{"status":"success","data":{"result":[{"metric":{},"values":[[1,"3"]]}],"resultType":"matrix"}}`:                                      `[]`,
		`{"status":"success","data":{"result":[1800000000,"3"],"resultType":"scalar"}}`:                                                        `[]`,
		`{"status":"success","data":{"result":[]}}`:                                                                                            `[]`,
		` { "status" : "success" , "data" : { "resultType" : "vector" , "result" : [ { "metric" : { } , "value" : [ 1 , "2" ] } ] } } ` + "\n": `[{{} 2}]`,
	} {
		a, err := parseInstant([]byte(body))
		if got := fmt.Sprint(a.rows); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", body, got, err, want)
		}
	}
	for _, bad := range []string{
		`{"status":"success","data":{"resultType":"vector"}}`,
		`{"status":"success","data":{"resultType":"vector","result":[]}} x`,
		`{"status":"success","data":{"resultType":"vector","result":[],"result":[]}}`,
		`{"status":"success","status":"success","data":{"resultType":"vector","result":[]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"id":"a","id":"b"},"value":[1,"1"]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"id":"a"},"value":[1,"1"],"value":[1,"2"]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"id":"a` + "\x01" + `"},"value":[1,"1"]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[0x1,"1"]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}],"more":[}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[],"deep":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`,
	} {
		if a, err := parseInstant([]byte(bad)); err == nil {
			t.Errorf("%s was read as %+v", bad, a)
		}
	}
}

// The decoder accepts nothing that encoding/json refuses.
func FuzzParseInstant(f *testing.F) {
	for _, s := range []string{
		vector(sample("1", "id=a")), vector() + "}", `{"a":[1e5,-0,null,true,"\u00e9\\"]}`,
		`{"data":{"result":[{"values":[[1,"2"]]}],"resultType":"matrix"}}`, `{"a":01}`, `{"a" "b"}`, `{"a":[1 2]}`, `{"a":"\x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := parseInstant(body); err == nil && !json.Valid(body) {
			t.Errorf("%q was read", body)
		}
		if _, err := parseRange(body, Moments{Start: time.Unix(0, 0), Step: time.Second, N: 3}); err == nil && !json.Valid(body) {
			t.Errorf("%q was read as a range", body)
		}
	})
}

// A query result requires status 200.
func TestStatusOfAnswers(t *testing.T) {
	for code, good := range map[int]bool{200: true, 203: false, 206: false, 503: false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := vector(sample("1", "id=aaaaaaaaaaaa"))
			if strings.Contains(r.URL.Path, "range") {
				body = `{"status":"success","data":{"resultType":"matrix","result":[]}}`
			}
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}))
		c, err := New(s.URL, "", "", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Vector(context.Background(), parse(t, "usage", ""), now); (err == nil) != good {
			t.Errorf("status %d: %v", code, err)
		}
		if _, err := c.Range(context.Background(), parse(t, "usage", ""), Moments{now, time.Second, 1}); (err == nil) != good {
			t.Errorf("status %d over a range: %v", code, err)
		}
		s.Close()
	}
}
