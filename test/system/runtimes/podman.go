package runtimes

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/testutil"
)

// Podman is Podman of one user, with storage of its own and its API served at Socket.
type Podman struct {
	Socket string // path

	h      *Host
	prefix []string // argv before the arguments of podman
	user   uint32
	parent string // "": Podman's own
	pods   []string
}

// startPodman starts Podman as root.
func (h *Host) startPodman(t *testing.T) *Podman {
	t.Helper()
	p := &Podman{h: h, prefix: append([]string{"env"}, h.podmanSettings(t, "root")...)}
	p.start(t, h.in("podman.sock"))
	return p
}

// startRootless starts Podman as the user.
func (h *Host) startRootless(t *testing.T) *Podman {
	t.Helper()
	var prefix []string
	if h.v2 {
		// A user may move processes only between cgroups of the user's own.
		prefix = []string{"sh", "-c", `echo 0 >"$1" && shift && exec "$@"`, "sh", cgroupRoot + userSession + "/cgroup.procs"}
	}
	id := strconv.Itoa(userID)
	prefix = append(prefix, "setpriv", "--reuid="+id, "--regid="+id, "--clear-groups", "env", "-i",
		"PATH="+os.Getenv("PATH"), "HOME="+h.in("home"), "XDG_RUNTIME_DIR="+userRun)
	p := &Podman{h: h, prefix: append(prefix, h.podmanSettings(t, "home")...), user: userID, parent: userParent}
	p.start(t, userRun+"/podman/podman.sock")
	return p
}

// podmanSettings writes the configuration files for Podman and returns the environment
// that selects them. The directory is the user's.
func (h *Host) podmanSettings(t *testing.T, dir string) []string {
	t.Helper()
	runtime := "crun"
	if !h.v2 {
		runtime = "runc" // crun rejects v1 and v2 together
	}
	where := h.in(dir)
	// Without root's right to raise a limit, the default limits fail.
	containers := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = %q
static_dir = "%[2]s/static"
tmp_dir = "%[2]s/tmp"
volume_path = "%[2]s/volumes"
[network]
network_config_dir = "%[2]s/network"
`, runtime, where)
	storage := fmt.Sprintf("[storage]\ndriver = %q\ngraphroot = \"%[2]s/storage\"\nrunroot = \"%[2]s/run\"\n",
		map[bool]string{true: "overlay", false: "vfs"}[dir == "root"], where)
	return []string{
		"CONTAINERS_CONF=" + h.write(t, "etc/"+dir+"-containers.conf", containers),
		"CONTAINERS_STORAGE_CONF=" + h.write(t, "etc/"+dir+"-storage.conf", storage),
		"podman",
	}
}

// start serves the API and imports the images. Each call of the command would take
// seconds on an emulated machine.
func (p *Podman) start(t *testing.T, socket string) {
	t.Helper()
	p.Socket = socket
	t.Cleanup(func() {
		for _, id := range p.pods {
			p.h.removeEverywhere(t, "/libpod_parent/"+id)
		}
		if p.user != 0 {
			// Podman keeps a process for the user's namespaces.
			p.h.attempt(p.argv("system", "migrate")...)
		}
	})
	testutil.StartProcess(t, "podman", p.argv("system", "service", "--time=0", "unix://"+socket)...)
	testutil.Eventually(t, p.h.Patience, "Podman responds", func() bool {
		_, err := p.request(http.MethodGet, "/_ping", nil)
		return err == nil
	})
	t.Cleanup(func() { p.removeAll(t) })
	images, err := os.ReadFile(p.h.in("images.tar"))
	if err != nil {
		t.Fatal(err)
	}
	p.call(t, http.MethodPost, "/images/load", images, nil)
}

func (p *Podman) removeAll(t *testing.T) {
	for _, id := range p.pods {
		if _, err := p.request(http.MethodDelete, "/pods/"+id+"?force=true", nil); err != nil && !strings.Contains(err.Error(), "404") {
			t.Errorf("removing a pod of Podman: %v", err)
		}
	}
	var list []struct{ ID string }
	text, err := p.request(http.MethodGet, "/containers/json?all=true", nil)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	for _, c := range list {
		if _, err2 := p.request(http.MethodDelete, "/containers/"+c.ID+"?force=true&timeout=0", nil); err2 != nil {
			err = err2
		}
	}
	if err != nil {
		t.Errorf("removing Podman's containers: %v", err)
	}
}

func (p *Podman) argv(args ...string) []string {
	return append(append([]string{}, p.prefix...), args...)
}

// request calls Podman's API.
func (p *Podman) request(method, path string, body []byte) ([]byte, error) {
	return p.h.request(p.Socket, method, "/v4.0.0/libpod"+path, body)
}

// call calls Podman's API with a body, which is JSON if it is not bytes, and decodes the
// response if to is not nil.
func (p *Podman) call(t *testing.T, method, path string, body, to any) {
	t.Helper()
	content, ok := body.([]byte)
	if !ok && body != nil {
		content = encode(t, body)
	}
	text, err := p.request(method, path, content)
	if err != nil {
		t.Fatalf("Podman: %v", err)
	}
	if to != nil {
		if err := json.Unmarshal(text, to); err != nil {
			t.Fatalf("Podman: %s: %q: %v", path, text, err)
		}
	}
}

// object is an object in JSON.
type object = map[string]any

// Run starts a container.
func (p *Podman) Run(t *testing.T, name string, l Load) Container {
	t.Helper()
	more := object{"netns": object{"nsmode": "none"}}
	if p.parent != "" {
		more["cgroup_parent"] = p.parent
	}
	return p.run(t, name, l, more)
}

// RunWithoutCgroup starts a container in the cgroup of its user, as rootless Podman does on
// a host with cgroup v1 or where the user has no cgroup.
func (p *Podman) RunWithoutCgroup(t *testing.T, name string, l Load) Container {
	t.Helper()
	more := object{"netns": object{"nsmode": "none"}}
	if p.h.v2 {
		more["cgroups_mode"] = "disabled"
	}
	c := p.run(t, name, l, more)
	c.Usage = nil
	return c
}

// limits are for a root without the right to raise a limit, where Podman's own fail.
var limits = []object{
	{"type": "nofile", "soft": 1024, "hard": 1024},
	{"type": "nproc", "soft": 1024, "hard": 1024},
}

func (p *Podman) run(t *testing.T, name string, l Load, more object) Container {
	t.Helper()
	spec := object{"name": name, "image": loadImage, "command": l.args(), "r_limits": limits}
	maps.Copy(spec, more)
	var made struct{ ID string }
	p.call(t, http.MethodPost, "/containers/create", spec, &made)
	p.call(t, http.MethodPost, "/containers/"+made.ID+"/start", nil, nil)
	c := p.inspect(t, name)
	c.CPUShare, c.Holds = l.CPUShare, l.Holds
	return c
}

func (p *Podman) inspect(t *testing.T, name string) Container {
	t.Helper()
	var is struct {
		ID    string
		State struct{ Pid int }
	}
	p.call(t, http.MethodGet, "/containers/"+name+"/json", nil, &is)
	if is.State.Pid == 0 {
		t.Fatalf("%s of Podman does not run", name)
	}
	c := Container{Name: name, ID: is.ID, Runtime: container.Podman, User: p.user, InitPID: is.State.Pid}
	if p.user == 0 || p.h.v2 {
		c.Usage = func(t *testing.T) Usage { return p.usage(t, c.ID) }
	}
	return c
}

// RunPod starts a pod of containers. Its infra container is the last of those returned.
func (p *Podman) RunPod(t *testing.T, pod string, containers []Named) []Container {
	t.Helper()
	infra := pod + "-infra"
	spec := object{
		"name": pod, "infra_image": pauseImage, "infra_name": infra, "infra_command": append([]string{"/program"}, Load{}.args()...),
		"netns": object{"nsmode": "none"},
	}
	if p.h.v2 {
		// Podman 4.3 makes a cgroup for the pod in which no device is allowed, if
		// systemd does not make it.
		spec["share_parent"] = false
	}
	var made struct{ ID string }
	p.call(t, http.MethodPost, "/pods/create", spec, &made)
	p.pods = append(p.pods, made.ID)
	p.call(t, http.MethodPost, "/pods/"+made.ID+"/start", nil, nil)
	var all []Container
	for _, c := range containers {
		all = append(all, p.run(t, c.Name, c.Load, object{"pod": made.ID}))
	}
	all = append(all, p.inspect(t, infra))
	for i := range all {
		all[i].PodName, all[i].PodContainer = pod, all[i].Name
		if !p.h.v2 { // otherwise only the API reveals it
			all[i].Pod = made.ID
		}
	}
	all[len(all)-1].PodContainer = podPause
	return all
}

// Restart stops a container and starts it again with the same id.
func (p *Podman) Restart(t *testing.T, c Container) Container {
	t.Helper()
	p.call(t, http.MethodPost, "/containers/"+c.ID+"/restart?t=0", nil, nil)
	again := c
	again.InitPID = p.inspect(t, c.Name).InitPID
	return again
}

// Remove kills a container and removes it.
func (p *Podman) Remove(t *testing.T, c Container) {
	t.Helper()
	p.call(t, http.MethodDelete, "/containers/"+c.ID+"?force=true&timeout=0", nil, nil)
}

// RemovePod kills the containers of a pod and removes it.
func (p *Podman) RemovePod(t *testing.T, pod string) {
	t.Helper()
	p.call(t, http.MethodDelete, "/pods/"+pod+"?force=true", nil, nil)
}

// usage is what `podman stats` prints, not rounded.
func (p *Podman) usage(t *testing.T, id string) Usage {
	t.Helper()
	var s struct {
		Stats []struct{ CPUNano, MemUsage uint64 }
	}
	p.call(t, http.MethodGet, "/containers/stats?stream=false&containers="+id, nil, &s)
	if len(s.Stats) != 1 {
		t.Fatalf("statistics of Podman: %+v", s)
	}
	return Usage{CPU: s.Stats[0].CPUNano, Memory: s.Stats[0].MemUsage, Anonymous: p.h.v2}
}

// Impostor starts a process of the user in a cgroup of the user's that is named as the one
// of c. It ends with the test.
func (p *Podman) Impostor(t *testing.T, c Container) Container {
	t.Helper()
	own := c
	own.Name, own.User, own.Usage, own.Pod, own.PodName = "impostor", p.user, nil, "", ""
	own.CPUShare, own.Holds, own.Impostor = 0, 0, true
	path := userParent + "/libpod-" + c.ID
	script := `for f; do [ "$f" = -- ] && break; echo 0 >"$f" || exit; done; while [ "$1" != -- ]; do shift; done; shift; exec "$@"`
	argv := []string{"sh", "-c", script, "sh"}
	for _, root := range p.h.hierarchies(t) {
		p.h.makeCgroup(t, root, path)
		argv = append(argv, root+path+"/cgroup.procs")
		t.Cleanup(func() { removeCgroups(t, root+path) })
	}
	id := strconv.Itoa(userID)
	argv = append(argv, "--", "setpriv", "--reuid="+id, "--regid="+id, "--clear-groups", "sleep", "86400")
	own.InitPID = testutil.StartProcess(t, "impostor", argv...).PID()
	testutil.Eventually(t, 10*time.Second, "the impostor sleeps", func() bool {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", own.InitPID))
		return err == nil && string(comm) == "sleep\n"
	})
	return own
}
