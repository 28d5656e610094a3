package status

import (
	"bytes"
	_ "embed" // the page is part of the program
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	mdtext "github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/estiba/estiba/docs"
)

//go:embed document.html
var documentSource string

// markdown renders no raw HTML and no links with a scheme that could run a script:
// goldmark's default.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Table),
	goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(rewriter{}, 100))),
)

// document serves the page docs/FILE.
func document(w http.ResponseWriter, page *template.Template, file string) {
	source, err := fs.ReadFile(docs.Pages, file)
	if err != nil {
		writeText(w, http.StatusNotFound, "no such page\n")
		return
	}
	pc := parser.NewContext()
	pc.Set(fileKey, file)
	var body bytes.Buffer
	if err := markdown.Convert(source, &body, parser.WithContext(pc)); err != nil {
		writeText(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	title, _, _ := strings.Cut(strings.TrimPrefix(string(source), "# "), "\n")
	writePage(w, page, "document", struct {
		frame
		Title, Heading string
		Body           template.HTML
	}{newFrame(), title, "Estiba documentation", template.HTML(body.String())}) // made by goldmark from our own files
}

// handleDocuments serves docs/ under /docs/ and its runbooks under /runbooks/, with and
// without the suffix of the files.
func handleDocuments(mux *http.ServeMux) {
	page := template.Must(template.New("document").Parse(documentSource))
	mux.HandleFunc("GET /docs/{$}", func(w http.ResponseWriter, _ *http.Request) { document(w, page, "README.md") })
	mux.HandleFunc("GET /docs/{name}", func(w http.ResponseWriter, r *http.Request) { document(w, page, fileOf(r)) })
	mux.HandleFunc("GET /runbooks/{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "../docs/rules#alerts", http.StatusFound)
	})
	mux.HandleFunc("GET /runbooks/{name}", func(w http.ResponseWriter, r *http.Request) { document(w, page, "runbooks/"+fileOf(r)) })
}

func fileOf(r *http.Request) string { return strings.TrimSuffix(r.PathValue("name"), ".md") + ".md" }

// fileKey is the file that is rendered.
var fileKey = parser.NewContextKey()

// rewriter makes the links of a page lead to the pages that are served, and gives headings
// the names that they have on GitHub.
type rewriter struct{}

// Transform implements parser.ASTTransformer.
func (rewriter) Transform(node *ast.Document, reader mdtext.Reader, pc parser.Context) {
	file, _ := pc.Get(fileKey).(string)
	used := map[string]bool{}
	var dead []ast.Node
	err := ast.Walk(node, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			name := slug(plainText(n, reader.Source()))
			for i, first := 1, name; used[name]; i++ {
				name = fmt.Sprintf("%s-%d", first, i)
			}
			used[name] = true
			n.SetAttributeString("id", []byte(name))
		case *extast.Table:
			n.SetAttributeString("tabindex", []byte("0")) // it scrolls on a phone
		case *extast.TableCell:
			if _, head := n.Parent().(*extast.TableHeader); head && !n.HasChildren() {
				n.SetAttributeString("role", []byte("presentation")) // no head of its column
			}
		case *ast.Link:
			if to := served(file, string(n.Destination)); to != "" {
				n.Destination = []byte(to)
			} else {
				dead = append(dead, n)
			}
		case *ast.Image:
			dead = append(dead, n)
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return // the walker returns none
	}
	// What is not served is text.
	for _, n := range dead {
		for c := n.FirstChild(); c != nil; c = n.FirstChild() {
			n.Parent().InsertBefore(n.Parent(), n, c)
		}
		n.Parent().RemoveChild(n.Parent(), n)
	}
}

// served is the address of a link in a file of docs, relative to the page of that file;
// "" if it is not served.
func served(file, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	if u.IsAbs() || u.Path == "" {
		return target // another site, or a heading of the same page
	}
	to := path.Join(path.Dir(file), u.Path)
	if _, err := fs.Stat(docs.Pages, to); err != nil || !strings.HasSuffix(to, ".md") {
		return ""
	}
	address := strings.TrimSuffix(to, ".md")
	if !strings.HasPrefix(address, "runbooks/") {
		address = "docs/" + address
	}
	if u.Fragment != "" {
		address += "#" + u.Fragment
	}
	return "../" + address
}

// plainText is the text of a node without its markup.
func plainText(n ast.Node, source []byte) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			b.Write(c.Value(source))
		case *ast.String:
			b.Write(c.Value)
		default:
			b.WriteString(plainText(c, source))
		}
	}
	return b.String()
}

// slug is the name of a heading in links, as on GitHub.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}
