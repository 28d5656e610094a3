package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestOurDockerfiles: those of the repository are understood.
func TestOurDockerfiles(t *testing.T) {
	for part, user := range map[string]string{"exporter": "", "manager": "10121:10121", "generator": "10122:10122"} {
		text, err := os.ReadFile("../../" + part + "/packaging/Dockerfile")
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseDockerfile(string(text))
		if err != nil {
			t.Fatalf("%s: %v", part, err)
		}
		if !reflect.DeepEqual(r.entrypoint, []string{"/" + part}) || r.user != user || r.labels["io.github.estiba.part"] != part {
			t.Errorf("%s: %+v", part, r)
		}
	}
}

func TestParseDockerfile(t *testing.T) {
	r, err := parseDockerfile(`# a comment
FROM scratch
LABEL a.title="two words" b="x"
COPY program /bin/program
COPY --chown=10:20 state /var/lib/state
USER 10:20
EXPOSE 80
EXPOSE 53/udp
ENTRYPOINT ["/bin/program"]
CMD ["run", "--now"]
`)
	want := &recipe{
		labels: map[string]string{"a.title": "two words", "b": "x"},
		ports:  []string{"80/tcp", "53/udp"}, user: "10:20",
		entrypoint: []string{"/bin/program"}, cmd: []string{"run", "--now"},
		copies: []copyStep{{from: "program", to: "bin/program"}, {from: "state", to: "var/lib/state", uid: 10, gid: 20}},
	}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestWhatIsNotUnderstoodIsAnError(t *testing.T) {
	const begin, end = "FROM scratch\n", "\nCOPY a /a\nENTRYPOINT [\"/a\"]\n"
	for _, line := range []string{
		"RUN true", "FROM debian", "FROM scratch", "ENV A=b", "LABEL a=b", `LABEL a="$B"`, "USER root", "EXPOSE 80-90",
		"ENTRYPOINT /a", "COPY --chown=root:root a /b", "COPY ../a /b", "COPY a b", "COPY a b /c/", "COPY a /b/../c", `LABEL a="b" \`,
		"VOLUME /a", "WORKDIR /a", "COPY --from=x a /b",
	} {
		if _, err := parseDockerfile(begin + line + end); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: error %v, want one about line 2", line, err)
		}
	}
	for _, text := range []string{"", "FROM scratch\n", "COPY a /a\n", "FROM scratch\nCOPY a /a\n"} {
		if _, err := parseDockerfile(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
