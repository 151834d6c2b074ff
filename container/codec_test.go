package container

import (
	"fmt"
	"reflect"
	"testing"
)

// fill gives every field of v a value that is not the zero one.
func fill(t *testing.T, v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(fmt.Appendf(nil, "bytes\x00%d", *n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(t, value, n)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprintf("key%d", *n)), value)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(-int64(*n))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(uint64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.5)
	default:
		t.Fatalf("what travels has a %s: teach it to codec and to this test", v.Type())
	}
}

// TestPacked: nothing of an order and of a message gets lost on the way, empty
// ones included, and what is cut off or too long is refused.
func TestPacked(t *testing.T) {
	n := 0
	var o, emptyOrder order
	var m, emptyMessage message
	fill(t, reflect.ValueOf(&o).Elem(), &n)
	fill(t, reflect.ValueOf(&m).Elem(), &n)
	for _, sent := range []interface{ packed(*codec) }{&o, &emptyOrder, &m, &emptyMessage} {
		fresh := func() interface{ packed(*codec) } {
			return reflect.New(reflect.TypeOf(sent).Elem()).Interface().(interface{ packed(*codec) })
		}
		b, got := pack(sent.packed), fresh()
		if err := unpack(b, got.packed); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(sent, got) {
			t.Errorf("sent %+v\ngot  %+v", sent, got)
		}
		for cut := range len(b) {
			if unpack(b[:cut], fresh().packed) == nil {
				t.Fatalf("%d of %d bytes are enough", cut, len(b))
			}
		}
		if unpack(append(b, 0), fresh().packed) == nil {
			t.Error("a byte more is not seen")
		}
	}
}
