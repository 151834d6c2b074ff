package fuse

import (
	"reflect"
	"testing"

	theirs "github.com/hanwen/go-fuse/v2/fuse"
)

// TestLayout: every field of ours that go-fuse has, too, is at the same place, and
// nothing is longer or shorter.
func TestLayout(t *testing.T) {
	for _, c := range []struct{ ours, theirs any }{
		{InHeader{}, theirs.InHeader{}},
		{OutHeader{}, theirs.OutHeader{}},
		{Attr{}, theirs.Attr{}},
		{EntryOut{}, theirs.EntryOut{}},
		{AttrOut{}, theirs.AttrOut{}},
		{OpenOut{}, theirs.OpenOut{}},
		{BackingMap{}, theirs.BackingMap{}},
		{CreateOut{}, theirs.CreateOut{}},
		{ForgetIn{}, theirs.ForgetIn{}},
		{GetAttrIn{}, theirs.GetAttrIn{}},
		{SetAttrIn{}, theirs.SetAttrIn{}},
		{StatxIn{}, theirs.StatxIn{}},
		{StatxOut{}, theirs.StatxOut{}},
		{SxTime{}, theirs.SxTime{}},
		{MknodIn{}, theirs.MknodIn{}},
		{MkdirIn{}, theirs.MkdirIn{}},
		{LinkIn{}, theirs.LinkIn{}},
		{RenameIn{}, theirs.RenameIn{}},
		{CreateIn{}, theirs.CreateIn{}},
		{OpenIn{}, theirs.OpenIn{}},
		{ReadIn{}, theirs.ReadIn{}},
		{WriteIn{}, theirs.WriteIn{}},
		{WriteOut{}, theirs.WriteOut{}},
		{FsyncIn{}, theirs.FsyncIn{}},
		{FallocateIn{}, theirs.FallocateIn{}},
		{LseekIn{}, theirs.LseekIn{}},
		{LseekOut{}, theirs.LseekOut{}},
		{CopyFileRangeIn{}, theirs.CopyFileRangeIn{}},
		{IoctlIn{}, theirs.IoctlIn{}},
		{IoctlOut{}, theirs.IoctlOut{}},
		{GetXAttrIn{}, theirs.GetXAttrIn{}},
		{GetXAttrOut{}, theirs.GetXAttrOut{}},
		{SetXAttrIn{}, theirs.SetXAttrIn{}},
		{StatfsOut{}, theirs.StatfsOut{}},
		{InitIn{}, theirs.InitIn{}},
		{InitOut{}, theirs.InitOut{}},
	} {
		a, b := reflect.TypeOf(c.ours), reflect.TypeOf(c.theirs)
		if a.Size() != b.Size() {
			t.Errorf("%s has %d bytes, go-fuse's %d", a.Name(), a.Size(), b.Size())
		}
		same := 0
		for _, f := range reflect.VisibleFields(a) {
			if g, ok := b.FieldByName(f.Name); ok && f.Type.Kind() != reflect.Struct && len(f.Index) == 1 && !f.Anonymous {
				same++
				if offset(a, f.Name) != offset(b, f.Name) || f.Type.Size() != g.Type.Size() {
					t.Errorf("%s.%s is at %d, go-fuse's at %d", a.Name(), f.Name, offset(a, f.Name), offset(b, f.Name))
				}
			}
		}
		if same == 0 && a.NumField() > 2 {
			t.Errorf("%s has no field with a name of go-fuse's", a.Name())
		}
	}
}

// offset is that of a field, promoted ones included.
func offset(t reflect.Type, name string) uintptr {
	f, _ := t.FieldByName(name)
	off := uintptr(0)
	for _, i := range f.Index {
		off += t.Field(i).Offset
		t = t.Field(i).Type
	}
	return off
}
