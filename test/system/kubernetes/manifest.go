// Package kubernetes runs the exporter as the manifests for Kubernetes describe it, on a
// real containerd with its CRI plugin and without a cluster, and compares what it publishes
// with the kernel's own files.
package kubernetes

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// daemonSet has the fields of a DaemonSet that the manifests use. Any other is an error, so
// that no right is left out when a pod is made of it.
type daemonSet struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
	Spec       struct {
		Selector       any `yaml:"selector"`
		UpdateStrategy any `yaml:"updateStrategy"`
		Template       struct {
			Metadata metadata `yaml:"metadata"`
			Spec     podSpec  `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type metadata struct {
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

type podSpec struct {
	ServiceAccountName string            `yaml:"serviceAccountName"`
	AutomountToken     *bool             `yaml:"automountServiceAccountToken"`
	EnableServiceLinks *bool             `yaml:"enableServiceLinks"`
	HostPID            bool              `yaml:"hostPID"`
	NodeSelector       map[string]string `yaml:"nodeSelector"`
	Tolerations        []any             `yaml:"tolerations"`
	Containers         []containerSpec   `yaml:"containers"`
	Volumes            []struct {
		Name     string `yaml:"name"`
		HostPath struct {
			Path string `yaml:"path"`
			Type string `yaml:"type"`
		} `yaml:"hostPath"`
	} `yaml:"volumes"`
}

type containerSpec struct {
	Name            string   `yaml:"name"`
	Image           string   `yaml:"image"`
	ImagePullPolicy string   `yaml:"imagePullPolicy"`
	Args            []string `yaml:"args"`
	Env             []struct {
		Name      string `yaml:"name"`
		ValueFrom struct {
			FieldRef struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	} `yaml:"env"`
	Ports []struct {
		Name          string `yaml:"name"`
		ContainerPort int    `yaml:"containerPort"`
	} `yaml:"ports"`
	LivenessProbe  probe `yaml:"livenessProbe"`
	ReadinessProbe probe `yaml:"readinessProbe"`
	Resources      struct {
		Requests map[string]string `yaml:"requests"`
		Limits   map[string]string `yaml:"limits"`
	} `yaml:"resources"`
	SecurityContext securityContext `yaml:"securityContext"`
	VolumeMounts    []struct {
		Name              string `yaml:"name"`
		MountPath         string `yaml:"mountPath"`
		ReadOnly          bool   `yaml:"readOnly"`
		RecursiveReadOnly string `yaml:"recursiveReadOnly"`
		MountPropagation  string `yaml:"mountPropagation"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
	PeriodSeconds  int `yaml:"periodSeconds"`
	TimeoutSeconds int `yaml:"timeoutSeconds"`
}

type securityContext struct {
	RunAsUser                *int64 `yaml:"runAsUser"`
	RunAsGroup               *int64 `yaml:"runAsGroup"`
	Privileged               bool   `yaml:"privileged"`
	AllowPrivilegeEscalation *bool  `yaml:"allowPrivilegeEscalation"`
	ReadOnlyRootFilesystem   bool   `yaml:"readOnlyRootFilesystem"`
	Capabilities             struct {
		Drop []string `yaml:"drop"`
		Add  []string `yaml:"add"`
	} `yaml:"capabilities"`
	SeccompProfile  profile `yaml:"seccompProfile"`
	AppArmorProfile profile `yaml:"appArmorProfile"`
}

type profile struct {
	Type string `yaml:"type"`
}

// parse returns the one DaemonSet among the objects of a rendering.
func parse(text []byte) (daemonSet, error) {
	var found []daemonSet
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var object yaml.Node
		if err := d.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return daemonSet{}, fmt.Errorf("manifests: %w", err)
		}
		var is struct {
			Kind string `yaml:"kind"`
		}
		if err := object.Decode(&is); err != nil || is.Kind != "DaemonSet" {
			continue
		}
		again, err := yaml.Marshal(&object)
		if err != nil {
			return daemonSet{}, err
		}
		var set daemonSet
		strict := yaml.NewDecoder(bytes.NewReader(again))
		strict.KnownFields(true)
		if err := strict.Decode(&set); err != nil {
			return daemonSet{}, fmt.Errorf("DaemonSet: %w", err)
		}
		found = append(found, set)
	}
	if len(found) != 1 || len(found[0].Spec.Template.Spec.Containers) != 1 {
		return daemonSet{}, fmt.Errorf("%d DaemonSets, want one with one container", len(found))
	}
	return found[0], nil
}
