package ship

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/plyfs/plyfs/container/image"
)

// Registry is what the configuration says of one registry.
type Registry struct {
	Mirrors  []string
	Insecure bool
}

// Remote says how to speak to registries.
type Remote struct {
	Registries map[string]Registry
	// Stall is how long an answer may say nothing; zero is a minute.
	Stall time.Duration
	// Pause is how long the first wait between attempts is; zero is half a second.
	Pause time.Duration
	// Keychain has the credentials; nil is that of docker and podman.
	Keychain authn.Keychain
}

// endpoint is a place that may have a repository.
type endpoint struct {
	repo   name.Repository
	client *http.Client
	base   string // scheme://host/v2/path/
}

// plan are the repositories to ask, mirrors first.
func (r *Remote) plan(ref image.Reference) (out []name.Repository, insecure []bool, err error) {
	cfg := r.Registries[ref.Host]
	add := func(text string, insecure1 bool) error {
		var o []name.Option
		if insecure1 {
			o = append(o, name.Insecure)
		}
		repo, err := name.NewRepository(text, o...)
		if err != nil {
			return err
		}
		out, insecure = append(out, repo), append(insecure, insecure1)
		return nil
	}
	for _, m := range cfg.Mirrors {
		plain, isHTTP := strings.CutPrefix(m, "http://")
		plain = strings.TrimSuffix(strings.TrimPrefix(plain, "https://"), "/")
		if err := add(plain+"/"+ref.Path, isHTTP || r.Registries[plain].Insecure); err != nil {
			return nil, nil, fmt.Errorf("mirror %q of %s: %w", m, ref.Host, err)
		}
	}
	return out, insecure, add(ref.Repository(), cfg.Insecure)
}

// roundTripper is the transport below the authentication.
func (r *Remote) roundTripper(insecure bool) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = r.stall()
	t.DisableCompression = true
	t.MaxIdleConnsPerHost = fetchers + 1
	if insecure {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the configuration says so
	}
	return t
}

func (r *Remote) stall() time.Duration {
	if r.Stall > 0 {
		return r.Stall
	}
	return time.Minute
}

func (r *Remote) keychain() authn.Keychain {
	if r.Keychain != nil {
		return r.Keychain
	}
	return authn.DefaultKeychain
}

// connect logs in at a repository.
func (r *Remote) connect(ctx context.Context, repo name.Repository, insecure bool) (*endpoint, error) {
	auth, err := r.keychain().Resolve(repo)
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", repo.RegistryStr(), err)
	}
	t, err := transport.NewWithContext(ctx, repo.Registry, auth, r.roundTripper(insecure), []string{repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, registryError(repo, err)
	}
	base := "https://" + repo.RegistryStr() + "/v2/" + repo.RepositoryStr() + "/" // the transport puts the right scheme there
	if repo.Registry.Scheme() == "http" {
		base = "http" + strings.TrimPrefix(base, "https")
	}
	return &endpoint{repo, &http.Client{Transport: t}, base}, nil
}

// registryError says in one line what a registry has against us.
func registryError(repo name.Repository, err error) error {
	var t *transport.Error
	var s *statusError
	code := 0
	if errors.As(err, &t) {
		code = t.StatusCode
	} else if errors.As(err, &s) {
		code = s.status
	}
	if code == http.StatusUnauthorized || code == http.StatusForbidden {
		return fmt.Errorf("%s: access is refused; docker login or podman login %s stores credentials that plyfs uses, too: %w", repo.Name(), repo.RegistryStr(), err)
	}
	return fmt.Errorf("%s: %w", repo.Name(), err)
}

// statusError is an answer that isn't what was asked for.
type statusError struct {
	url    string
	status int
	text   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: %d %s%s", e.url, e.status, http.StatusText(e.status), e.text)
}

// final says that asking again helps nothing.
func (e *statusError) final() bool {
	return e.status >= 400 && e.status < 500 && e.status != http.StatusRequestTimeout && e.status != http.StatusTooManyRequests
}

// get asks for a path below the repository, from an offset on. The body ends
// with an error when nothing comes for too long.
func (e *endpoint) get(ctx context.Context, path, accept string, from, size int64, stall time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.base+path, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, size-1))
	}
	stalled := errors.New("nothing came for " + stall.String())
	timer := time.AfterFunc(stall, func() { cancel(stalled) })
	resp, err := e.client.Do(req)
	if err != nil {
		timer.Stop()
		cancel(nil)
		return nil, causeOf(ctx, err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		resp.Body.Close()
		timer.Stop()
		cancel(nil)
		said := ""
		if len(text) > 0 {
			said = ": " + strings.TrimSpace(string(text))
		}
		return nil, &statusError{req.URL.String(), resp.StatusCode, said}
	}
	resp.Body = &lively{resp.Body, ctx, cancel, timer, stall}
	return resp, nil
}

func causeOf(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// lively is a body that has to say something now and then.
type lively struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

func (l *lively) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	l.timer.Reset(l.stall)
	if err != nil && !errors.Is(err, io.EOF) {
		err = causeOf(l.ctx, err)
	}
	return n, err
}

func (l *lively) Close() error {
	l.timer.Stop()
	l.cancel(nil)
	return l.ReadCloser.Close()
}
