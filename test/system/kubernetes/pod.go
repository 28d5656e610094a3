package kubernetes

import (
	"fmt"
	"strconv"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// node is what a kubelet knows and the manifest does not.
type node struct {
	name string
	uid  string // of the pod
}

// pod makes of a DaemonSet what a kubelet asks of the runtime on this node: the sandbox and
// the container. What it does not understand is an error.
// https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto
func pod(set daemonSet, n node) (*cri.PodSandboxConfig, *cri.ContainerConfig, error) {
	template := set.Spec.Template
	spec, c := template.Spec, template.Spec.Containers[0]
	name := set.Metadata.Name + "-x7k2p"
	labels := map[string]string{
		"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": set.Metadata.Namespace, "io.kubernetes.pod.uid": n.uid,
	}
	inPod := map[string]string{"io.kubernetes.container.name": c.Name}
	for k, v := range labels {
		inPod[k] = v
	}
	for k, v := range template.Metadata.Labels {
		labels[k] = v
	}
	pid := cri.NamespaceMode_CONTAINER
	if spec.HostPID {
		pid = cri.NamespaceMode_NODE
	}
	namespaces := &cri.NamespaceOption{Network: cri.NamespaceMode_POD, Ipc: cri.NamespaceMode_POD, Pid: pid}
	runtimeDefault := &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}
	class, resources, err := quality(c)
	if err != nil {
		return nil, nil, err
	}
	sandbox := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: name, Namespace: set.Metadata.Namespace, Uid: n.uid},
		Hostname: name, Labels: labels, Annotations: template.Metadata.Annotations,
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    "/kubepods/" + class + "/pod" + n.uid,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: namespaces, Seccomp: runtimeDefault},
		},
	}
	security, err := securityOf(c.SecurityContext, namespaces)
	if err != nil {
		return nil, nil, err
	}
	container := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: c.Name},
		Image:    &cri.ImageSpec{Image: c.Image}, Labels: inPod,
		Linux: &cri.LinuxContainerConfig{Resources: resources, SecurityContext: security},
	}
	known := map[string]string{}
	for _, e := range c.Env {
		value, ok := map[string]string{"spec.nodeName": n.name}[e.ValueFrom.FieldRef.FieldPath]
		if !ok {
			return nil, nil, fmt.Errorf("variable %s: field %q is not known here", e.Name, e.ValueFrom.FieldRef.FieldPath)
		}
		known["$("+e.Name+")"] = value
		container.Envs = append(container.Envs, &cri.KeyValue{Key: e.Name, Value: []byte(value)})
	}
	for _, arg := range c.Args {
		for reference, value := range known {
			arg = strings.ReplaceAll(arg, reference, value)
		}
		if strings.Contains(arg, "$(") {
			return nil, nil, fmt.Errorf("argument %s: an unknown variable", arg)
		}
		container.Args = append(container.Args, arg)
	}
	container.Mounts, err = mounts(spec)
	return sandbox, container, err
}

// quality returns the class of the pod's quality of service, as the kubelet names its
// cgroup, and the container's resources.
func quality(c containerSpec) (string, *cri.LinuxContainerResources, error) {
	memory, err := mebibytes(c.Resources.Limits["memory"])
	if err != nil {
		return "", nil, err
	}
	milli, err := strconv.ParseInt(strings.TrimSuffix(c.Resources.Requests["cpu"], "m"), 10, 64)
	if err != nil || !strings.HasSuffix(c.Resources.Requests["cpu"], "m") {
		return "", nil, fmt.Errorf("request of CPU %q", c.Resources.Requests["cpu"])
	}
	if len(c.Resources.Limits) != 1 {
		return "", nil, fmt.Errorf("limits %v: want one of memory", c.Resources.Limits)
	}
	return "burstable", &cri.LinuxContainerResources{
		CpuShares: max(milli*1024/1000, 2), MemoryLimitInBytes: memory, OomScoreAdj: 990,
	}, nil
}

func mebibytes(text string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSuffix(text, "Mi"), 10, 64)
	if err != nil || !strings.HasSuffix(text, "Mi") {
		return 0, fmt.Errorf("memory %q: want Mi", text)
	}
	return n << 20, nil
}

func securityOf(s securityContext, namespaces *cri.NamespaceOption) (*cri.LinuxContainerSecurityContext, error) {
	if s.RunAsUser == nil || s.RunAsGroup == nil || s.AllowPrivilegeEscalation == nil {
		return nil, fmt.Errorf("the security context leaves user, group or escalation to the image")
	}
	if s.SeccompProfile.Type != "RuntimeDefault" || s.AppArmorProfile.Type != "Unconfined" {
		return nil, fmt.Errorf("seccomp %q, AppArmor %q", s.SeccompProfile.Type, s.AppArmorProfile.Type)
	}
	return &cri.LinuxContainerSecurityContext{
		NamespaceOptions: namespaces,
		Privileged:       s.Privileged,
		RunAsUser:        &cri.Int64Value{Value: *s.RunAsUser},
		RunAsGroup:       &cri.Int64Value{Value: *s.RunAsGroup},
		NoNewPrivs:       !*s.AllowPrivilegeEscalation,
		ReadonlyRootfs:   s.ReadOnlyRootFilesystem,
		Capabilities:     &cri.Capability{AddCapabilities: s.Capabilities.Add, DropCapabilities: s.Capabilities.Drop},
		Seccomp:          &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault},
		Apparmor:         &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined},
		// What a kubelet asks for where procMount is Default.
		MaskedPaths: []string{
			"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
			"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
		},
		ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}, nil
}

// mounts are those of the container. This runtime has no recursive read-only mounts, so
// IfPossible has no effect.
func mounts(spec podSpec) ([]*cri.Mount, error) {
	paths := map[string]string{}
	for _, v := range spec.Volumes {
		if v.HostPath.Type != "Directory" {
			return nil, fmt.Errorf("volume %s: %+v is not a folder of the host", v.Name, v.HostPath)
		}
		paths[v.Name] = v.HostPath.Path
	}
	var all []*cri.Mount
	for _, m := range spec.Containers[0].VolumeMounts {
		propagation, ok := map[string]cri.MountPropagation{
			"": cri.MountPropagation_PROPAGATION_PRIVATE, "HostToContainer": cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER,
		}[m.MountPropagation]
		if !ok || paths[m.Name] == "" || m.RecursiveReadOnly != "" && m.RecursiveReadOnly != "IfPossible" {
			return nil, fmt.Errorf("mount %+v of %q", m, paths[m.Name])
		}
		all = append(all, &cri.Mount{ContainerPath: m.MountPath, HostPath: paths[m.Name], Readonly: m.ReadOnly, Propagation: propagation})
	}
	return all, nil
}
