package promtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"sort"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// Series is one time series with samples in the order of time.
type Series struct {
	Labels  map[string]string // with __name__
	Samples []Sample
}

// Sample is one value at one time; Prometheus keeps milliseconds.
type Sample struct {
	At    time.Time
	Value float64
}

// Stale is the value by which Prometheus marks that a series has ended
// (model/value in its source: a NaN of its own).
func Stale() float64 { return math.Float64frombits(0x7ff0000000000002) }

// maxBatch bounds the samples of one request.
const maxBatch = 50_000

// Write adds the series to the history, in any order. A series must not be
// given two values for one time.
func (s *Server) Write(ctx context.Context, list []Series) error {
	var body []byte
	samples := 0
	flush := func() error {
		if len(body) == 0 {
			return nil
		}
		err := s.post(ctx, body)
		body, samples = body[:0], 0
		return err
	}
	for _, one := range list {
		for from := 0; from < len(one.Samples); from += maxBatch {
			part := one
			part.Samples = one.Samples[from:min(len(one.Samples), from+maxBatch)]
			body = protowire.AppendTag(body, 1, protowire.BytesType)
			body = protowire.AppendBytes(body, part.encode())
			if samples += len(part.Samples); samples >= maxBatch {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// encode is the message TimeSeries of remote write 1.0
// (https://prometheus.io/docs/specs/prw/remote_write_spec/).
func (s Series) encode() []byte {
	names := make([]string, 0, len(s.Labels))
	for n := range s.Labels {
		names = append(names, n)
	}
	sort.Strings(names)
	var b, part []byte
	for _, n := range names {
		part = protowire.AppendTag(part[:0], 1, protowire.BytesType)
		part = protowire.AppendString(part, n)
		part = protowire.AppendTag(part, 2, protowire.BytesType)
		part = protowire.AppendString(part, s.Labels[n])
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendBytes(b, part)
	}
	for _, sample := range s.Samples {
		part = protowire.AppendTag(part[:0], 1, protowire.Fixed64Type)
		part = protowire.AppendFixed64(part, math.Float64bits(sample.Value))
		part = protowire.AppendTag(part, 2, protowire.VarintType)
		part = protowire.AppendVarint(part, uint64(sample.At.UnixMilli()))
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendBytes(b, part)
	}
	return b
}

func (s *Server) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("writing the history: %s: %s", resp.Status, bytes.TrimSpace(why))
	}
	return nil
}
