// Generated from prometheus/rules, for a scrape every 30 s: go run ./prometheus/generate
{
  prometheusRules+:: {
    "groups": [
      {
        "name": "estiba",
        "rules": [
          {
            "expr": "100 * sum by (host, id, name) (\n  rate(estiba_container_cpu_seconds_total[2m]) and estiba_container_cpu_seconds_total\n)\n",
            "record": "estiba:container_cpu_usage:percent"
          },
          {
            "expr": "100 * sum by (host, id, name) (\n  estiba_container_memory_rss_bytes\n    / on (host, job, instance) group_left ()\n  estiba_host_memory_total_bytes\n)\n",
            "record": "estiba:container_memory_usage:percent"
          },
          {
            "expr": "sum by (host, id, name) (\n  (rate(estiba_container_disk_read_bytes_total[2m]) and estiba_container_disk_read_bytes_total)\n  +\n  (rate(estiba_container_disk_written_bytes_total[2m]) and estiba_container_disk_written_bytes_total)\n)\n",
            "record": "estiba:container_disk_io:bytes_rate30s"
          },
          {
            "expr": "sum by (host, id, name) (\n  (rate(estiba_container_io_reads_total[2m]) and estiba_container_io_reads_total)\n  +\n  (rate(estiba_container_io_writes_total[2m]) and estiba_container_io_writes_total)\n)\n",
            "record": "estiba:container_io_activity:rate30s"
          },
          {
            "expr": "sum by (host, id, name) (\n  (rate(estiba_container_network_receive_bytes_total[2m]) and estiba_container_network_receive_bytes_total)\n  +\n  (rate(estiba_container_network_transmit_bytes_total[2m]) and estiba_container_network_transmit_bytes_total)\n)\n",
            "record": "estiba:container_network:bytes_rate30s"
          },
          {
            "expr": "(round(estiba:container_cpu_usage:percent, 0.0001) <= bool 0.09)\n  *\n(round(estiba:container_memory_usage:percent, 0.0001) <= bool 0.16)\n",
            "record": "estiba:container_is_low:bool"
          },
          {
            "expr": "estiba:container_is_low:bool == 1",
            "labels": {
              "class": "low"
            },
            "record": "estiba:container_class"
          },
          {
            "expr": "(estiba:container_is_low:bool == 0) + 1",
            "labels": {
              "class": "high"
            },
            "record": "estiba:container_class"
          },
          {
            "expr": "estiba:container_cpu_usage:percent / 5",
            "labels": {
              "kind": "cpu"
            },
            "record": "estiba:container_kind_strength:ratio"
          },
          {
            "expr": "(\n  sum by (host, id, name) (100 * estiba_container_memory_working_set_bytes / (estiba_container_memory_limit_bytes > 0))\n    or\n  100 * sum by (host, id, name) (\n    estiba_container_memory_working_set_bytes\n      / on (host, job, instance) group_left ()\n    estiba_host_memory_total_bytes\n  )\n    or\n  estiba:container_memory_usage:percent\n) / 50\n",
            "labels": {
              "kind": "ram"
            },
            "record": "estiba:container_kind_strength:ratio"
          },
          {
            "expr": "estiba:container_io_activity:rate30s / 30",
            "labels": {
              "kind": "io"
            },
            "record": "estiba:container_kind_strength:ratio"
          },
          {
            "expr": "estiba:container_disk_io:bytes_rate30s / 1048576",
            "labels": {
              "kind": "disk"
            },
            "record": "estiba:container_kind_strength:ratio"
          },
          {
            "expr": "topk by (host, id, name) (1, estiba:container_kind_strength:ratio >= 1) * 0 + 1",
            "record": "estiba:container_kind_observed"
          },
          {
            "expr": "group by (host, id, name, kind) (estiba_container_info{kind!=\"\"})",
            "labels": {
              "declared": "true"
            },
            "record": "estiba:container_kind"
          },
          {
            "expr": "estiba:container_kind_observed\n  unless on (host, id, name)\nestiba_container_info{kind!=\"\"}\n",
            "labels": {
              "declared": "false"
            },
            "record": "estiba:container_kind"
          },
          {
            "expr": "label_replace(estiba:container_kind_observed, \"observed\", \"$1\", \"kind\", \"(.+)\")\n  * on (host, id, name) group_left (kind)\ngroup by (host, id, name, kind) (estiba_container_info{kind!=\"\"})\n  unless on (host, id, name, kind)\nestiba:container_kind_observed\n",
            "record": "estiba:container_kind_mismatch"
          }
        ]
      }
    ]
  },
  prometheusAlerts+:: {
    "groups": [
      {
        "name": "estiba-exporter",
        "rules": [
          {
            "alert": "EstibaExporterDown",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "Prometheus has scraped no {{ with $labels.instance }}samples from exporter {{ . }}{{ else }}exporter{{ end }} for 90 s. Without fresh samples the manager kills nothing. Check that the exporter is running and is in the list of targets.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaExporterDown",
              "summary": "{{ with $labels.instance }}Exporter {{ . }} is down{{ else }}No exporter is scraped{{ end }}"
            },
            "expr": "up{job=\"estiba\"} == 0\n  or\n# If Prometheus stores no samples, EstibaPrometheusFailing fires instead.\nabsent(up{job=\"estiba\"})\n  unless on (host)\n(last_over_time(prometheus_tsdb_head_max_time_seconds[1d]) unless on (host) up)\n",
            "for": "90s",
            "labels": {
              "severity": "critical",
              "subject": "exporter"
            }
          },
          {
            "alert": "EstibaScrapeFailing",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "The exporter answers, but reading its source (kernel module or cgroup files) has failed for 90 s. There are no samples of containers, so the manager kills nothing. The log of the exporter has the error.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaScrapeFailing",
              "summary": "Exporter {{ $labels.instance }} cannot read its source"
            },
            "expr": "estiba_scrape_success == 0",
            "for": "90s",
            "labels": {
              "severity": "critical",
              "subject": "exporter"
            }
          },
          {
            "alert": "EstibaScrapedTooSeldom",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "Rates and classes of its containers are missing, and the manager spares them. Use the rules for the scrape interval of this Prometheus (make rules SCRAPE=…), or scrape the exporter more often. If scrapes fail, EstibaExporterDown fires, too.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaScrapedTooSeldom",
              "summary": "Exporter {{ $labels.instance }} is scraped every {{ $value | humanizeDuration }}, too seldom for these rules"
            },
            "expr": "600 / count_over_time(up{job=\"estiba\"}[10m]) > 60 # seconds between scrapes\n  and\nup{job=\"estiba\"} offset 10m\n",
            "for": "5m",
            "labels": {
              "severity": "warning",
              "subject": "exporter"
            }
          },
          {
            "alert": "EstibaKernelModuleMissing",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "The samples are the same, but each scrape costs more CPU. Load the module, or silence this alert on a host that must not load modules.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaKernelModuleMissing",
              "summary": "Exporter {{ $labels.instance }} runs without the kernel module"
            },
            "expr": "estiba_kernel_module_loaded == 0",
            "for": "5m",
            "labels": {
              "severity": "info",
              "subject": "exporter"
            }
          },
          {
            "alert": "EstibaDockerDown",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "The connection has been down for 90 s. New containers have no name, image or labels, so the manager spares them. Check that Docker is running and that the exporter can read its socket.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaDockerDown",
              "summary": "Exporter {{ $labels.instance }} cannot reach the Docker Engine"
            },
            "expr": "estiba_docker_up == 0\n  unless on (host, job, instance) (\n    estiba_runtime_up{runtime!=\"docker\"}\n      unless on (host, job, instance)\n    estiba_runtime_up{runtime=\"docker\"}\n  )\n",
            "for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "exporter"
            }
          },
          {
            "alert": "EstibaRuntimeDown",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "A socket of it has not answered for 90 s. Its new containers have no name, image or labels; their usage is exported. Check that the service is running and that the exporter can read its socket.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaRuntimeDown",
              "summary": "Exporter {{ $labels.instance }} cannot reach {{ if eq $labels.runtime \"cri\" }}the container runtime of Kubernetes{{ else }}Podman{{ end }}"
            },
            "expr": "estiba_runtime_up{runtime!=\"docker\"} == 0",
            "for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "exporter"
            }
          },
          {
            "alert": "EstibaContainersUnseen",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "Docker has reported them as running for five minutes, but the exporter finds none of their processes. They have no usage samples, so rules over usage do not select them. Check that the exporter runs on their host, in the PID namespace of the host.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaContainersUnseen",
              "summary": "Exporter {{ $labels.instance }} does not see {{ $value }} running container{{ if ge $value 1.5 }}s{{ end }}"
            },
            "expr": "estiba_containers_unseen > 0",
            "for": "5m",
            "labels": {
              "severity": "warning",
              "subject": "exporter"
            }
          }
        ]
      },
      {
        "name": "estiba-containers",
        "rules": [
          {
            "alert": "EstibaContainerNearMemoryLimit",
            "annotations": {
              "dashboard_url": "/d/estiba-container/estiba-container?var-id={{ $labels.id }}",
              "description": "Container {{ with $labels.name }}{{ . }} ({{ $labels.id }}){{ else }}{{ $labels.id }}{{ end }} has a working set of {{ $value | humanizePercentage }} of its memory limit. At the limit the kernel reclaims its page cache, then kills a process. Look for a leak on the dashboard, or raise the limit.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaContainerNearMemoryLimit",
              "summary": "Container {{ with $labels.name }}{{ . }} ({{ $labels.id }}){{ else }}{{ $labels.id }}{{ end }} uses {{ $value | humanizePercentage }} of its memory limit"
            },
            "expr": "max by (host, id, name) (\n  estiba_container_memory_working_set_bytes / (estiba_container_memory_limit_bytes > 0)\n) > 0.9\n",
            "for": "90s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "container"
            }
          },
          {
            "alert": "EstibaContainerOOMKilled",
            "annotations": {
              "dashboard_url": "/d/estiba-container/estiba-container?var-id={{ $labels.id }}",
              "description": "The container reached its memory limit, or the host ran out of memory. If its init process was killed, the container has exited. Find the process in dmesg, then raise the limit or reduce its memory use.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaContainerOOMKilled",
              "summary": "Container {{ with $labels.name }}{{ . }} ({{ $labels.id }}){{ else }}{{ $labels.id }}{{ end }}: {{ printf \"%.0f\" $value }} OOM kill{{ if ge $value 1.5 }}s{{ end }} in 5 minutes"
            },
            "expr": "sum by (host, id, name) (\n  increase(estiba_container_oom_kills_total[5m]) > 0\n    or\n  estiba_container_oom_kills_total\n    - (estiba_container_oom_kills_total offset 5m <= estiba_container_oom_kills_total\n         or estiba_container_oom_kills_total * 0) > 0\n    unless on (host, id, name)\n  (time() - estiba_container_start_time_seconds > 600)\n)\n  or\nsum by (host, id, name) (\n  increase(estiba_container_oom_events_total[5m]) > 0\n    or\n  estiba_container_oom_events_total\n    - (estiba_container_oom_events_total offset 5m <= estiba_container_oom_events_total\n         or estiba_container_oom_events_total * 0) > 0\n    unless on (host, id, name)\n  (time() - estiba_container_start_time_seconds > 600)\n)\n",
            "for": "0s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "container"
            }
          },
          {
            "alert": "EstibaContainerThrottled",
            "annotations": {
              "dashboard_url": "/d/estiba-container/estiba-container?var-id={{ $labels.id }}",
              "description": "The container has used up its CPU quota, even if the host has idle cores. The percentage is a sum over cores and can exceed 100%. Raise the quota with docker update --cpus, or silence this alert if the quota is intended.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaContainerThrottled",
              "summary": "Container {{ with $labels.name }}{{ . }} ({{ $labels.id }}){{ else }}{{ $labels.id }}{{ end }} is throttled {{ $value | humanizePercentage }} of the time"
            },
            "expr": "sum by (host, id, name) (rate(estiba_container_cpu_throttled_seconds_total[2m])) > 0.25",
            "for": "2m",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "container"
            }
          },
          {
            "alert": "EstibaContainerDiskFilling",
            "annotations": {
              "dashboard_url": "/d/estiba-container/estiba-container?var-id={{ $labels.id }}",
              "description": "The writable layer is larger than 1 GB and grows. It fills the file system that all containers share. List what it writes with docker diff {{ $labels.id }}, and move the data to a volume.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaContainerDiskFilling",
              "summary": "Container {{ with $labels.name }}{{ . }} ({{ $labels.id }}){{ else }}{{ $labels.id }}{{ end }} writes {{ $value | humanize }}B per hour to its writable layer"
            },
            "expr": "(\n    max by (host, id, name) (deriv(estiba_container_disk_usage_bytes[15m])) * 3600 > 1e9\n  and\n    max by (host, id, name) (estiba_container_disk_usage_bytes) > 1e9\n)\n",
            "for": "5m",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "container"
            }
          },
          {
            "alert": "EstibaContainerLabelMisspelt",
            "annotations": {
              "dashboard_url": "/d/estiba-container/estiba-container?var-id={{ $labels.id }}",
              "description": "The label has a name or a value that Estiba does not define. The manager does not touch the container until this is fixed. Create the container again with a valid label.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaContainerLabelMisspelt",
              "summary": "Container {{ with $labels.name }}{{ . }} ({{ $labels.id }}){{ else }}{{ $labels.id }}{{ end }} has an invalid label {{ $labels.label }}"
            },
            "expr": "max by (host, id, name, label) (estiba_container_label_errors) > 0",
            "for": "90s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "container"
            }
          },
          {
            "alert": "EstibaNoManagedContainerOfKind",
            "annotations": {
              "dashboard_url": "/d/estiba-overview/estiba-overview",
              "description": "One ran within the last 15 minutes. Check how it exited: docker ps -a --filter label=estiba.kind={{ $labels.kind }}.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaNoManagedContainerOfKind",
              "summary": "No managed container of kind {{ $labels.kind }} is running"
            },
            "expr": "group by (host, kind) (last_over_time(estiba_container_info{managed=\"true\", kind!=\"\"}[15m]))\n  unless on (host, kind)\nestiba_container_info{managed=\"true\", kind!=\"\"}\n  and on (host)\n(estiba_scrape_success == 1)\n  unless on (host)\n(estiba_docker_up == 0)\n",
            "for": "90s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "container"
            }
          }
        ]
      },
      {
        "name": "estiba-manager",
        "rules": [
          {
            "alert": "EstibaManagerDown",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "Prometheus has scraped no {{ with $labels.instance }}samples from manager {{ . }}{{ else }}manager{{ end }} for 90 s. While the manager is down, nothing is killed and containers pile up. Check that it is running and is in the list of targets.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaManagerDown",
              "summary": "{{ with $labels.instance }}Manager {{ . }} is down{{ else }}No manager is scraped{{ end }}"
            },
            "expr": "up{job=\"estiba-manager\"} == 0\n  or\n# If Prometheus stores no samples, EstibaPrometheusFailing fires instead.\nabsent(up{job=\"estiba-manager\"})\n  unless on (host)\n(last_over_time(prometheus_tsdb_head_max_time_seconds[1d]) unless on (host) up)\n",
            "for": "90s",
            "labels": {
              "severity": "critical",
              "subject": "manager"
            }
          },
          {
            "alert": "EstibaManagerStale",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "The manager is running, but its ticks fail and nothing is killed. The label result of estiba_manager_ticks_total has the reason. Run manager plan to see the error.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaManagerStale",
              "summary": "Manager {{ $labels.instance }}: no successful tick {{ if gt $value 1e9 }}since it started{{ else }}for {{ $value | humanizeDuration }}{{ end }}"
            },
            "expr": "time() - estiba_manager_last_success_timestamp_seconds > 120",
            "for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "manager"
            }
          },
          {
            "alert": "EstibaManagerCannotKill",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "In the last five minutes these kills failed, or the manager exited before recording the outcome. The next tick tries again. Find the error of the Docker Engine in the audit log.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaManagerCannotKill",
              "summary": "{{ printf \"%.0f\" $value }} kill{{ if ge $value 1.5 }}s{{ end }} of kind {{ $labels.kind }} by rule {{ $labels.rule }} failed"
            },
            "expr": "sum by (host, rule, kind) (\n  increase(estiba_manager_kills_total{mode=\"live\", outcome=~\"failed|unknown\"}[5m]) > 0\n    or\n  estiba_manager_kills_total{mode=\"live\", outcome=~\"failed|unknown\"}\n    - (last_over_time(estiba_manager_kills_total{mode=\"live\", outcome=~\"failed|unknown\"}[1h] offset 5m)\n           <= estiba_manager_kills_total{mode=\"live\", outcome=~\"failed|unknown\"}\n         or estiba_manager_kills_total{mode=\"live\", outcome=~\"failed|unknown\"} * 0) > 0\n)\n  or\ncount by (host, rule, kind) (estiba_manager_recent_kill_timestamp_seconds{mode=\"live\", outcome=~\"failed|unknown\"} > time() - 300)\n",
            "for": "0s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "critical",
              "subject": "manager"
            }
          },
          {
            "alert": "EstibaManagerKillRefused",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "The rule selects containers that a guard then refuses when the manager inspects them. The samples in Prometheus and the Docker Engine disagree. Find the guard in the audit log, outcome refused.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaManagerKillRefused",
              "summary": "{{ printf \"%.0f\" $value }} kills of kind {{ $labels.kind }} by rule {{ $labels.rule }} refused in 30 minutes"
            },
            "expr": "sum by (host, rule, kind) (increase(estiba_manager_kills_total{mode=\"live\", outcome=\"refused\"}[30m])) > 2.5\n  and\nsum by (host, rule, kind) (increase(estiba_manager_kills_total{mode=\"live\", outcome=\"refused\"}[15m])) > 0\n",
            "for": "0s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "manager"
            }
          },
          {
            "alert": "EstibaManagerCannotRecord",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "The manager kills nothing that it cannot record first. Check the free space and the permissions of the file given by --audit.file.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaManagerCannotRecord",
              "summary": "Manager {{ $labels.instance }}: {{ printf \"%.0f\" $value }} failed write{{ if ge $value 1.5 }}s{{ end }} to the audit log"
            },
            "expr": "increase(estiba_manager_audit_append_failures_total[5m]) > 0\n  or\nestiba_manager_audit_append_failures_total\n  - (last_over_time(estiba_manager_audit_append_failures_total[1h] offset 5m) <= estiba_manager_audit_append_failures_total\n       or estiba_manager_audit_append_failures_total * 0) > 0\n",
            "for": "0s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "critical",
              "subject": "manager"
            }
          },
          {
            "alert": "EstibaKillBudgetExhausted",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "For 90 s every tick has killed max_kills_per_tick containers, and more candidates may be left. Check with manager plan that the rules select what they should. Only then raise the budget.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaKillBudgetExhausted",
              "summary": "Manager {{ $labels.instance }} spends its whole kill budget in every tick"
            },
            "expr": "estiba_manager_kill_budget_remaining == 0",
            "for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "manager"
            }
          },
          {
            "alert": "EstibaRuleStopped",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "The last {{ $value }} kills did not lower the relief value, so manager {{ $labels.instance }} kills nothing more by this rule. Check whether something starts the containers again. Fix the rule, then reload the policy to resume.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaRuleStopped",
              "summary": "Rule {{ $labels.rule }} has stopped: {{ $value }} kills without relief"
            },
            "expr": "(estiba_manager_rule_stopped == 1)\n  * on (host, job, instance, rule) group_left ()\nestiba_manager_kills_without_relief\n",
            "for": "0s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "manager"
            }
          },
          {
            "alert": "EstibaKillPending",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "Manager {{ $labels.instance }} will kill it (kind {{ $labels.kind }}) no earlier than {{ $value | humanizeTimestamp }}. To veto the kill, silence this alert; the container is spared while the silence lasts.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaKillPending",
              "summary": "Rule {{ $labels.rule }} is about to kill container {{ with $labels.name }}{{ . }} ({{ $labels.id }}){{ else }}{{ $labels.id }}{{ end }}"
            },
            "expr": "estiba_manager_kill_pending_timestamp_seconds",
            "for": "0s",
            "labels": {
              "severity": "warning",
              "subject": "manager"
            }
          },
          {
            "alert": "EstibaManagerPolicyRejected",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "The last reload found errors, and the previous policy stays in force. List the errors with manager check, fix them and reload.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaManagerPolicyRejected",
              "summary": "Manager {{ $labels.instance }} rejected its policy file"
            },
            "expr": "estiba_manager_config_last_reload_successful == 0",
            "for": "90s",
            "labels": {
              "severity": "warning",
              "subject": "manager"
            }
          },
          {
            "alert": "EstibaContainerKilled",
            "annotations": {
              "dashboard_url": "/d/estiba-manager/estiba-manager",
              "description": "Killed in the last five minutes: {{- range $i, $kill := query (printf \"sort_desc(estiba_manager_recent_kill_timestamp_seconds{mode=\\\"live\\\", outcome=\\\"done\\\", host=%q, rule=%q, kind=%q} > time() - 300)\" (or $labels.host \"\") $labels.rule $labels.kind) }}{{ if $i }},{{ end }} {{ $kill.Labels.name }} ({{ $kill.Labels.id }}, kill {{ $kill.Labels.kill_id }}) {{- else }} names unknown {{- end }}. The audit log has each decision under its kill id. To spare a container, label it estiba.protect=true.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaContainerKilled",
              "summary": "Rule {{ $labels.rule }} killed {{ printf \"%.0f\" $value }} container{{ if ge $value 1.5 }}s{{ end }} of kind {{ $labels.kind }}"
            },
            "expr": "sum by (host, rule, kind) (increase(estiba_manager_kills_total{mode=\"live\", outcome=\"done\"}[5m])) > 0\n  or\ncount by (host, rule, kind) (estiba_manager_recent_kill_timestamp_seconds{mode=\"live\", outcome=\"done\"} > time() - 300)\n",
            "for": "0s",
            "labels": {
              "severity": "info",
              "subject": "container"
            }
          }
        ]
      },
      {
        "name": "estiba-stack",
        "rules": [
          {
            "alert": "EstibaPrometheusFailing",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "Prometheus has a fault that can affect rules, alerts and history. Read its log first; the runbook has the steps for each problem.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaPrometheusFailing",
              "summary": "Prometheus {{ $labels.instance }}: {{ $labels.problem }}"
            },
            "expr": "label_replace(\n  increase(prometheus_rule_evaluation_failures_total[5m]) > 0\n    or\n  prometheus_rule_evaluation_failures_total\n    - (last_over_time(prometheus_rule_evaluation_failures_total[1h] offset 5m) <= prometheus_rule_evaluation_failures_total\n         or prometheus_rule_evaluation_failures_total * 0) > 0,\n  \"problem\", \"rules fail\", \"\", \"\")\n  or\nlabel_replace(\n  increase(prometheus_notifications_dropped_total[5m]) > 0\n    or\n  prometheus_notifications_dropped_total\n    - (last_over_time(prometheus_notifications_dropped_total[1h] offset 5m) <= prometheus_notifications_dropped_total\n         or prometheus_notifications_dropped_total * 0) > 0,\n  \"problem\", \"notifications are dropped\", \"\", \"\")\n  or\n# No target has a sample within the last minute, for example because the disk is\n# full. Alerts are still evaluated and sent, but series end after five minutes:\n# the labels come from the samples of the last day.\nlabel_replace(\n  last_over_time(prometheus_tsdb_head_max_time_seconds[1d])\n    unless on (host)\n  (timestamp(up) > time() - 120),\n  \"problem\", \"samples are not stored\", \"\", \"\")\n  or\nlabel_replace(prometheus_config_last_reload_successful == 0, \"problem\", \"the configuration is rejected\", \"\", \"\")\n  or\n# Corruption is found at startup, and a counter that starts at 1 has no increase.\nlabel_replace(\n  increase(prometheus_tsdb_wal_corruptions_total[5m]) > 0\n    or\n  prometheus_tsdb_wal_corruptions_total > 0 and on (host, job, instance) time() - process_start_time_seconds < 600,\n  \"problem\", \"the write-ahead log is corrupt\", \"\", \"\")\n",
            "for": "90s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "critical",
              "subject": "stack"
            }
          },
          {
            "alert": "EstibaAlertmanagerFailing",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "Notifications may reach no one. Watch the alerts in Prometheus or Grafana until this is fixed. Check the log of Alertmanager, and its configuration with amtool check-config.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaAlertmanagerFailing",
              "summary": "Alertmanager{{ with $labels.instance }} {{ . }}{{ end }}: {{ $labels.problem }}{{ with $labels.integration }} ({{ . }}){{ end }}"
            },
            "expr": "label_replace(up{job=\"alertmanager\"} == 0, \"problem\", \"it does not answer\", \"\", \"\")\n  or\n# If Prometheus stores no samples, EstibaPrometheusFailing fires instead.\nlabel_replace(absent(up{job=\"alertmanager\"}), \"problem\", \"it is not scraped\", \"\", \"\")\n  unless on (host)\n(last_over_time(prometheus_tsdb_head_max_time_seconds[1d]) unless on (host) up)\n  or\nlabel_replace(\n  sum by (host, instance, integration) (\n    increase(alertmanager_notifications_failed_total[5m]) > 0\n      or\n    alertmanager_notifications_failed_total\n      - (last_over_time(alertmanager_notifications_failed_total[1h] offset 5m) <= alertmanager_notifications_failed_total\n           or alertmanager_notifications_failed_total * 0) > 0\n  ),\n  \"problem\", \"messages fail\", \"\", \"\")\n  or\nlabel_replace(alertmanager_config_last_reload_successful == 0, \"problem\", \"the configuration is rejected\", \"\", \"\")\n",
            "for": "90s",
            "keep_firing_for": "90s",
            "labels": {
              "severity": "critical",
              "subject": "stack"
            }
          },
          {
            "alert": "EstibaWatchdog",
            "annotations": {
              "dashboard_url": "/d/estiba-stack/estiba-stack",
              "description": "This alert always fires. When its notification stops, the path from Prometheus through Alertmanager to the receiver is broken.",
              "runbook_url": "http://localhost:10121/runbooks/EstibaWatchdog",
              "summary": "Watchdog, always firing"
            },
            "expr": "vector(1)",
            "for": "0s",
            "labels": {
              "severity": "none",
              "subject": "stack"
            }
          }
        ]
      }
    ]
  },
  grafanaDashboards+:: {
    "estiba-container.json": import '../../../grafana/dashboards/estiba-container.json',
    "estiba-fleet.json": import '../../../grafana/dashboards/estiba-fleet.json',
    "estiba-manager.json": import '../../../grafana/dashboards/estiba-manager.json',
    "estiba-overview.json": import '../../../grafana/dashboards/estiba-overview.json',
    "estiba-stack.json": import '../../../grafana/dashboards/estiba-stack.json',
  },
}
