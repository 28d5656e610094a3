package container

// Kind is what a container mainly uses. The empty Kind means "not declared".
type Kind string

// The kinds, as they stand in labels, metrics and policies.
const (
	KindNone Kind = ""
	KindCPU  Kind = "cpu"
	KindRAM  Kind = "ram"
	KindIO   Kind = "io"   // many small synchronous operations
	KindDisk Kind = "disk" // bulk data
)

// Kinds returns the four declared kinds in their fixed order.
func Kinds() []Kind { return []Kind{KindCPU, KindRAM, KindIO, KindDisk} }

// ParseKind accepts exactly the four kinds; anything else is KindNone, false.
func ParseKind(s string) (Kind, bool) {
	for _, k := range Kinds() {
		if s == string(k) {
			return k, true
		}
	}
	return KindNone, false
}
