package fleet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// TestLateSamples sends what a host has kept for two hours, after another one went on
// sending: the central store takes it, and would not without the window that its
// configuration opens.
func TestLateSamples(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		window bool
		status int
	}{
		{"as shipped", true, http.StatusNoContent},
		{"without the window", false, http.StatusBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(testutil.RepositoryRoot(t), "prometheus", "examples", "fleet"))); err != nil {
				t.Fatal(err)
			}
			config := filepath.Join(dir, "central.yml")
			stack.RewriteYAML(t, config, func(root map[string]any) {
				delete(root, "scrape_configs")
				if !c.window {
					delete(root, "storage")
				}
			})
			s := &stack.Stack{Addresses: stack.Addresses{Prometheus: testutil.FreeAddress(t)}, Patience: time.Minute}
			testutil.StartProcess(t, "central", testutil.Tool(t, "prometheus"), "--web.enable-remote-write-receiver", "--config.file="+config,
				"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+s.Prometheus)
			s.Ready(t, s.Prometheus)

			now := time.Now()
			if status, text := send(t, s, "box2", now, 1); status != http.StatusNoContent {
				t.Fatalf("a sample of now: %d %s", status, text)
			}
			late := now.Add(-2 * time.Hour)
			status, text := send(t, s, "box1", late, 42)
			if status != c.status {
				t.Fatalf("a sample of two hours ago: %d %s, want %d", status, text, c.status)
			}
			if c.window {
				found := s.Query(t, fmt.Sprintf(`%s{host="box1"} @ %d`, counted, late.Unix()+1))
				if len(found) != 1 || found[0].Samples[0].Value != 42 {
					t.Errorf("it is there as %v", found)
				}
			} else if !strings.Contains(text, "out of bounds") {
				t.Errorf("it is refused for another reason: %s", text)
			}
		})
	}
}

// send writes one sample as a remote Prometheus does: remote write 1.0.
func send(t *testing.T, s *stack.Stack, host string, at time.Time, value float64) (status int, text string) {
	t.Helper()
	// prompb.WriteRequest by hand: field 1 is a series, of which 1 are its labels
	// (1 name, 2 value) and 2 its samples (1 value, 2 milliseconds).
	field := func(number byte, data []byte) []byte {
		return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(data))), data...)
	}
	label := func(name, value string) []byte {
		return field(1, append(field(1, []byte(name)), field(2, []byte(value))...))
	}
	sample := binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, math.Float64bits(value))
	sample = binary.AppendUvarint(append(sample, 2<<3), uint64(at.UnixMilli()))
	series := append(append(label("__name__", counted), label("host", host)...), field(2, sample)...)
	request := field(1, series)
	// Snappy's block format with nothing compressed: the length, then a literal.
	block := binary.AppendUvarint(nil, uint64(len(request)))
	block = append(append(block, 60<<2, byte(len(request)-1)), request...)

	post, err := http.NewRequest(http.MethodPost, "http://"+s.Prometheus+"/api/v1/write", bytes.NewReader(block))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Content-Type", "application/x-protobuf")
	post.Header.Set("Content-Encoding", "snappy")
	post.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	answer, err := http.DefaultClient.Do(post)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body)
}
