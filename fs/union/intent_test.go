package union

import (
	"testing"
	"unsafe"

	"github.com/plyfs/plyfs/fs/node"
)

// TestIntentSlots: when every slot is taken, a change in yet another directory
// finds an old one with a step or two, and never one that was just done.
func TestIntentSlots(t *testing.T) {
	shared, err := newShared("intents", intentSlots*int(unsafe.Sizeof(intent{})))
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{}
	m.intents.init(shared)
	defer m.intents.shared.close()
	steps, young := 0, 0
	for i := range 4 * intentSlots {
		before := m.intents.hand
		in := m.begin(&intent{kind: intentMake, parent: node.ID(i + 1)}, "name", "")
		steps += (m.intents.hand - before + intentSlots) % intentSlots
		m.done(in, false)
		for back := range min(i+1, 16) { // as many are in hand at once
			if m.intents.of[node.ID(i+1-back)] == nil {
				young++
			}
		}
	}
	if young > 0 {
		t.Errorf("%d intents were dropped before their answer", young)
	}
	if steps > 2*4*intentSlots {
		t.Errorf("%d steps for %d changes", steps, 4*intentSlots)
	}
}
