// Verifies a mirrored log with golang.org/x/mod/sumdb, which nobody here wrote: see tests/interop/go.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type dir string

func (d dir) Height() int { return 8 }
func (d dir) path(t tlog.Tile) string {
	p := t.Path() // tile/8/L/NNN[.p/W]  (L = "data" for -1)
	p = "tile/" + strings.TrimPrefix(p, "tile/8/")
	return filepath.Join(string(d), strings.Replace(p, "tile/data/", "tile/entries/", 1))
}
func (d dir) ReadTiles(ts []tlog.Tile) (out [][]byte, err error) {
	for _, t := range ts {
		b, err := os.ReadFile(d.path(t))
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return
}
func (d dir) SaveTiles([]tlog.Tile, [][]byte) {}

func open(file string, vs note.Verifiers) tlog.Tree {
	b, err := os.ReadFile(file)
	die(err)
	n, err := note.Open(b, vs)
	die(err)
	l := strings.Split(n.Text, "\n")
	if len(l) < 4 {
		die(errors.New("short checkpoint"))
	}
	sz, err := strconv.ParseInt(l[1], 10, 64)
	die(err)
	h, err := base64.StdEncoding.DecodeString(l[2])
	die(err)
	var t tlog.Tree
	t.N = sz
	copy(t.Hash[:], h)
	fmt.Printf("go: note ok %s size=%d root=%s sigs=%d unverified=%d\n", l[0], sz, t.Hash, len(n.Sigs), len(n.UnverifiedSigs))
	return t
}
func die(err error) {
	if err != nil {
		fmt.Println("go: FAIL:", err)
		os.Exit(1)
	}
}
func entries(d dir, hr tlog.HashReader, size int64) {
	var n int64
	for n < size {
		w := size - n
		if w > 256 {
			w = 256
		}
		t := tlog.Tile{H: 8, L: -1, N: n / 256, W: int(w)}
		b, err := os.ReadFile(d.path(t))
		die(err)
		var idx []int64
		var hs []tlog.Hash
		for i := int64(0); i < w; i++ {
			l := int(binary.BigEndian.Uint16(b))
			hs = append(hs, tlog.RecordHash(b[2:2+l]))
			b = b[2+l:]
			idx = append(idx, tlog.StoredHashIndex(0, n+i))
		}
		if len(b) != 0 {
			die(errors.New("trailing bytes in bundle"))
		}
		got, err := hr.ReadHashes(idx) // authenticated against the tree head
		die(err)
		for i := range got {
			if got[i] != hs[i] {
				die(fmt.Errorf("entry %d does not match level 0", n+int64(i)))
			}
		}
		n += w
	}
	fmt.Println("go: all", n, "entries match authenticated level-0 hashes (fsck)")
}
func main() {
	d := dir(os.Args[1])
	vk, err := os.ReadFile(os.Args[2])
	die(err)
	v, err := note.NewVerifier(strings.TrimSpace(string(vk)))
	die(err)
	t := open(filepath.Join(string(d), "checkpoint"), note.VerifierList(v))
	hr := tlog.TileHashReader(t, d)
	for _, i := range []int64{0, 42, 255, 256, t.N - 1} {
		p, err := tlog.ProveRecord(t.N, i, hr)
		die(err)
		h, err := hr.ReadHashes([]int64{tlog.StoredHashIndex(0, i)})
		die(err)
		die(tlog.CheckRecord(p, t.N, t.Hash, i, h[0]))
	}
	fmt.Println("go: inclusion ok")
	for _, s := range os.Args[3:] {
		o := open(filepath.Join(string(d), "checkpoint."+s), note.VerifierList(v))
		p, err := tlog.ProveTree(t.N, o.N, hr)
		die(err)
		die(tlog.CheckTree(p, t.N, t.Hash, o.N, o.Hash))
		fmt.Println("go: consistency ok", o.N, "->", t.N, "proof", len(p))
	}
	entries(d, hr, t.N)
}
