package fusefs

import "testing"

// TestPulse: the timer runs as long as requests come or are being handled, and
// ends after a period without.
func TestPulse(t *testing.T) {
	busy := false
	var p pulse
	p.init(func() bool { return busy })
	want := func(state uint32) {
		t.Helper()
		if got := p.state.Load(); got != state {
			t.Fatalf("state %d, want %d", got, state)
		}
	}
	p.beat()
	if !p.timer.Stop() {
		t.Fatal("no timer after the first request")
	}
	want(pulseBusy)
	p.beat()
	p.tick()
	want(pulseOld)
	p.beat()
	want(pulseBusy)
	p.tick()
	if !p.timer.Stop() {
		t.Fatal("no timer while requests come")
	}
	busy = true
	p.tick()
	if !p.timer.Stop() {
		t.Fatal("no timer while a request is being handled")
	}
	busy = false
	p.tick()
	want(pulseOff)
	if p.timer.Stop() {
		t.Fatal("a timer without requests")
	}
	p.beat()
	if !p.timer.Stop() {
		t.Fatal("no timer after a pause")
	}
}
