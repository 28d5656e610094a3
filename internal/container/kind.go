package container

// Kind is what a container exists to use. The empty Kind means "not declared".
type Kind string

// The kinds, as written in labels, metrics and policies.
const (
	KindNone Kind = ""
	KindCPU  Kind = "cpu"
	KindRAM  Kind = "ram"
	KindIO   Kind = "io"   // many small synchronous operations
	KindDisk Kind = "disk" // bulk data
)

// Kinds returns the four kinds in a fixed order.
func Kinds() []Kind { return []Kind{KindCPU, KindRAM, KindIO, KindDisk} }

// ParseKind accepts exactly the four kinds; otherwise it returns KindNone, false.
func ParseKind(s string) (Kind, bool) {
	for _, k := range Kinds() {
		if s == string(k) {
			return k, true
		}
	}
	return KindNone, false
}
