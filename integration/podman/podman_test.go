package podman

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/integration/harness"
)

// containerfile has what images are made of: data in a RUN, a COPY, owners and
// modes, and in later layers a deletion, a directory that is made again, and
// a rename.
const containerfile = `FROM localhost/base
RUN mkdir /d && echo 1 >/d/a && echo 2 >/d/b && ln /d/b /d/b2 && chown 1000:1000 /d/b && chmod 4751 /d/b
COPY copied /d/c
RUN rm /d/a && mkdir /e && echo old >/e/old && ln -s ../d/c /e/link
RUN rm -rf /e && mkdir /e && echo new >/e/new && mv /data /moved
`

// inspection prints what containerfile must have made.
const inspection = `
mountinfo=$(grep " / / " /proc/self/mountinfo); case "$mountinfo" in *" - fuse"*) ;; *) echo "root is not on FUSE: $mountinfo";; esac
ls /d; cat /d/b /d/c; stat -c "%u:%g %a %h" /d/b; ls /e; cat /e/new; ls /moved; cat /moved/one
test -e /data && echo "/data is still there"; test -e /d/a && echo "/d/a is still there"; true`

const inspected = "b\nb2\nc\n2\ncopied\n1000:1000 4751 2\nnew\nnew\none\ntwo\nbase\n"

func TestBuild(t *testing.T) {
	everyone(t, func(t *testing.T, s *store) {
		s.write("ctx/Containerfile", containerfile)
		s.write("ctx/copied", "copied\n")
		s.run(`podman build -q -t localhost/p $D/ctx`)
		s.inspect("localhost/p")
		s.run(`buildah bud -q --layers -t localhost/b $D/ctx`)
		s.inspect("localhost/b")
		s.run(`buildah bud -q --isolation chroot --no-cache -t localhost/c $D/ctx`)
		s.inspect("localhost/c")
	})
}

func (s *store) inspect(image string) {
	s.t.Helper()
	if got := s.run(`podman run --rm ` + image + ` sh -c '` + inspection + `'`); got != inspected {
		s.t.Errorf("%s: got\n%s\nwant\n%s", image, got, inspected)
	}
}

// TestCommit changes a container, looks at the difference, commits it and
// runs the result.
func TestCommit(t *testing.T) {
	everyone(t, func(t *testing.T, s *store) {
		// Its name is no hexadecimal number: podman diff looks for an image first, and
		// one whose id begins with such a name would be taken.
		s.run(`podman run --name worker localhost/base sh -c '
			echo more >>/data/one; rm /etc/group; mkdir -p /new/deep; echo x >/new/deep/x; mv /etc/passwd /etc/users; chmod 700 /tmp'`)
		got := strings.Split(strings.TrimSpace(s.run(`podman diff worker`)), "\n")
		slices.Sort(got)
		// /data/two is another name of /data/one: the link is kept.
		want := []string{
			"A /etc/users", "A /new", "A /new/deep", "A /new/deep/x", "C /data", "C /data/one", "C /data/two", "C /etc", "C /tmp",
			"D /etc/group", "D /etc/passwd",
		}
		if !slices.Equal(got, want) {
			t.Errorf("podman diff:\n got %v\nwant %v", got, want)
		}
		s.run(`podman commit -q worker localhost/committed`)
		got2 := s.run(`podman run --rm localhost/committed sh -c 'cat /data/one /new/deep/x; ls /etc | grep -v -e hosts -e resolv -e hostname -e mtab; stat -c %a /tmp'`)
		if want := "base\nmore\nx\nusers\n700\n"; got2 != want {
			t.Errorf("the committed image: got %q, want %q", got2, want)
		}
	})
}

// TestBuildahByHand works in a working container with buildah's own verbs.
func TestBuildahByHand(t *testing.T) {
	everyone(t, func(t *testing.T, s *store) {
		s.write("file", "from outside\n")
		s.run(`c=$(buildah from localhost/base)
			buildah copy -q $c $D/file /data/file
			buildah run $c sh -c 'rm /data/two; mkdir /w; cd /w; seq 1000 >s; dd if=s of=t bs=512 seek=3 2>/dev/null; mv s u'
			buildah commit -q $c localhost/hand; buildah rm $c`)
		if got, want := s.run(`podman run --rm localhost/hand sh -c 'ls /data /w; wc -c </w/t; cat /data/file'`),
			"/data:\nfile\none\n\n/w:\nt\nu\n5429\nfrom outside\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// lookIntoMany prints what an image of n layers must hold, see manyLayers.
const lookIntoMany = `ls /l | wc -l; cat /l/common /l/f113; test -e /l/f109 && echo "/l/f109 is still there"; ls /again | wc -l; stat -c %u /l/f113`

// TestManyLayers builds an image on one of 120 layers; Debian's podman stops
// at 128.
func TestManyLayers(t *testing.T) {
	everyone(t, func(t *testing.T, s *store) {
		s.write("many.tar", manyLayersImage(t, 120))
		s.run(`podman load -q -i $D/many.tar`)
		// 119 files less 11 deleted ones, and the common one; again/ has g110 to g119.
		if got, want := s.run(`podman run --rm localhost/many sh -c '`+lookIntoMany+`'`), "109\n119\n113\n10\n1\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		s.write("ctx/Containerfile", "FROM localhost/many\nRUN rm /l/f113 && echo top >/l/common\nRUN rm -rf /again && mkdir /again\n")
		s.run(`podman build -q -t localhost/more $D/ctx`)
		if got, want := s.run(`podman run --rm localhost/more sh -c 'ls /l | wc -l; cat /l/common; ls /again'`), "108\ntop\n"; got != want {
			t.Errorf("on top of it: got %q, want %q", got, want)
		}
	})
}

// TestRootfsOf200Layers mounts 200 layers as containers/storage unpacks them
// (deletions as .wh. files) and runs containers on the mount.
func TestRootfsOf200Layers(t *testing.T) {
	everyone(t, func(t *testing.T, s *store) {
		for i, l := range manyLayers(t, 200) {
			s.write(fmt.Sprintf("tars/%03d", i), string(l))
		}
		s.write("inside", `set -euo pipefail
			mkdir $D/upper $D/work $D/mnt
			layers=
			for i in $(seq -w 0 199); do
				mkdir -p $D/layers/$i; tar -C $D/layers/$i --numeric-owner -xpf $D/tars/$i; layers=$D/layers/$i${layers:+:$layers}
			done
			$BIN_DROPIN -o lowerdir=$layers,upperdir=$D/upper,workdir=$D/work $D/mnt
			podman run --rm --rootfs $D/mnt sh -c '`+lookIntoMany+`; rm -r /l; mkdir /l; echo x >/l/x'
			podman run --rm --rootfs $D/mnt sh -c 'ls /l'
			umount $D/mnt
			$BIN_DROPIN -o lowerdir=$D/upper:$layers $D/mnt
			ls $D/mnt/l
			umount $D/mnt`)
		s.env = append(s.env, "BIN_DROPIN="+harness.DropIn(t))
		// 199 files less 19 deleted ones, and the common one; again/ has g190 to g199.
		got := s.run(`if [ "$(id -u)" = 0 ]; then bash $D/inside; else podman unshare bash $D/inside; fi`)
		if want := "181\n199\n113\n10\n1\nx\nx\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestLongRunning has several containers at once, with commands executed in
// them, and stops them.
func TestLongRunning(t *testing.T) {
	everyone(t, func(t *testing.T, s *store) {
		s.run(`for i in 1 2 3; do podman run -d --name c$i localhost/base sleep 1000 >/dev/null; done
			for i in 1 2 3; do podman exec c$i sh -c "echo $i >/data/one; ln /data/one /data/three"; done`)
		if got, want := s.run(`for i in 1 2 3; do podman exec c$i sh -c 'cat /data/three; stat -c %h /data/three'; done`), "1\n3\n2\n3\n3\n3\n"; got != want {
			t.Errorf("got %q, want %q (each container has its own files and keeps hard links)", got, want)
		}
		s.run(`podman stop -t 0 c1 c2 c3 >/dev/null; podman start c2 >/dev/null`)
		if got, want := s.run(`podman exec c2 cat /data/one /data/three`), "2\n2\n"; got != want {
			t.Errorf("after a restart: got %q, want %q", got, want)
		}
		s.run(`podman rm -f -t 0 c1 c2 c3 >/dev/null`)
	})
}
