package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/plyfs/plyfs/plugin/proxy"
	"github.com/plyfs/plyfs/snapshot"
	"github.com/plyfs/plyfs/snapshot/servers"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/status"
)

// metrics is what Prometheus gets.
type metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
}

func newMetrics(sn *snapshot.Snapshotter, pool *servers.Pool) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "plyfs_snapshotter_call_seconds",
			Help:    "How long calls of containerd took, by method and gRPC code.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"method", "code"}),
	}
	m.registry.MustRegister(m.calls, &gauges{sn, pool},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observer writes calls down.
func observer(logger *slog.Logger, m *metrics) proxy.Observer {
	return func(method string, took time.Duration, err error) {
		m.calls.WithLabelValues(method, status.Code(err).String()).Observe(took.Seconds())
		if logger.Enabled(context.Background(), slog.LevelDebug) {
			logger.Debug("call", "method", method, "took", took, "error", err)
		}
	}
}

// gauges are asked for when somebody looks.
type gauges struct {
	sn   *snapshot.Snapshotter
	pool *servers.Pool
}

var (
	descSnapshots = prometheus.NewDesc("plyfs_snapshotter_snapshots", "Snapshots by kind.", []string{"kind"}, nil)
	descMounts    = prometheus.NewDesc("plyfs_snapshotter_mounts", "Unions that are mounted.", nil, nil)
	descServers   = prometheus.NewDesc("plyfs_snapshotter_servers", "Processes that serve mounts.", nil, nil)
	descRequests  = prometheus.NewDesc("plyfs_fuse_requests_total", "FUSE requests of the mounts that there are, by kind.", []string{"op"}, nil)
	descTimes     = prometheus.NewDesc("plyfs_fuse_request_seconds", "How long servers took for requests, by kind, while they were timed: from the first scrape on, if one comes every five minutes.", []string{"op"}, nil)
	descAnswers   = prometheus.NewDesc("plyfs_answers_total", "Names and attributes by where they came from.", []string{"from"}, nil)
	descCopyUps   = prometheus.NewDesc("plyfs_copy_ups_total", "Files and directories that the mounts that there are have copied to the upper layer.", nil, nil)
	descRead      = prometheus.NewDesc("plyfs_read_bytes_total", "Bytes that the kernel read from the mounts that there are.", nil, nil)
	descWritten   = prometheus.NewDesc("plyfs_written_bytes_total", "Bytes that the kernel wrote to them.", nil, nil)
	descCopied    = prometheus.NewDesc("plyfs_copy_up_bytes_total", "Bytes that the mounts that there are have copied from lower layers to upper ones.", nil, nil)
)

func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSnapshots, descMounts, descServers, descRequests, descCopied, descTimes, descAnswers, descCopyUps, descRead, descWritten} {
		ch <- d
	}
}

func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	kinds := map[snapshots.Kind]int{snapshots.KindActive: 0, snapshots.KindView: 0, snapshots.KindCommitted: 0}
	err := g.sn.Walk(context.Background(), func(_ context.Context, info snapshots.Info) error {
		kinds[info.Kind]++
		return nil
	})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descSnapshots, err)
	} else {
		for k, n := range kinds {
			gauge(descSnapshots, float64(n), strings.ToLower(k.String()))
		}
	}
	c := g.pool.Counts()
	gauge(descMounts, float64(c.Mounts))
	gauge(descServers, float64(c.Servers))
	for op, n := range c.Requests {
		ch <- prometheus.MustNewConstMetric(descRequests, prometheus.CounterValue, float64(n), strings.ToLower(op))
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	counter(descCopied, float64(c.CopiedUp))
	f := &c.Figures
	counter(descAnswers, float64(f.Known), "memory")
	counter(descAnswers, float64(f.Asked), "layer")
	counter(descCopyUps, float64(f.CopyUps))
	counter(descRead, float64(f.Read))
	counter(descWritten, float64(f.Written))
	for op, t := range f.Times {
		buckets := map[float64]uint64{}
		for le, n := range t.Buckets {
			buckets[time.Duration(le).Seconds()] = n
		}
		ch <- prometheus.MustNewConstHistogram(descTimes, t.Count, t.Sum, buckets, strings.ToLower(op))
	}
}

// serveHTTP serves metrics and pprof where the configuration wants them. An
// error of a server that runs goes to failed.
func serveHTTP(c *config, m *metrics, failed chan<- error) (stop func(), err error) {
	var servers []*http.Server
	stop = func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}
	serve := func(what string, l net.Listener, h http.Handler) {
		s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, s)
		go func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s: %w", what, err)
			}
		}()
	}
	if a := c.Metrics.Address; a != "" {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return stop, fmt.Errorf("metrics address %s: %w", a, err)
		}
		mux := http.NewServeMux()
		mux.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
		serve("metrics", l, mux)
	}
	if a := c.Debug.Address; a != "" {
		l, err := listenUnix("debug", a)
		if err != nil {
			stop()
			return stop, fmt.Errorf("debug: %w", err)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		serve("debug socket", l, mux)
	}
	return stop, nil
}
