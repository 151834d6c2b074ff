package fusefs

import "testing"

// TestPulse: the timer runs as long as requests come, and ends after a period
// without any.
func TestPulse(t *testing.T) {
	var p pulse
	p.init()
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
