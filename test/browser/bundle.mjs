// Bundles the page. Of Grafana's Prometheus data source only the code that
// shapes answers is wanted: its editors and its server's client stay out.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const here = path.dirname(fileURLToPath(import.meta.url));

const leaveOut = {
  name: 'leave-out',
  setup(b) {
    b.onResolve({ filter: /^@grafana\/prometheus\/dist\// }, ({ path: p }) => ({ path: path.join(here, 'node_modules', p) }));
    b.onResolve({ filter: /^(@grafana\/runtime|monaco-editor|react-monaco-editor)(\/|$)|AnnotationQueryEditor\.mjs$/ },
      () => ({ path: 'nothing', namespace: 'left-out' }));
    b.onLoad({ filter: /.*/, namespace: 'left-out' }, () => ({ loader: 'js', contents: 'module.exports = { config: { featureToggles: {} } }' }));
  },
};

/** bundle returns the page's script as text. */
export async function bundle() {
  const { outputFiles, warnings } = await build({
    entryPoints: [path.join(here, 'src', 'page.tsx')],
    bundle: true, write: false, format: 'iife', platform: 'browser', target: 'chrome120', jsx: 'automatic', logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    loader: { '.svg': 'text', '.woff2': 'empty' },
    minify: true, legalComments: 'none', outdir: 'out',
    plugins: [leaveOut],
  });
  if (warnings.length > 0) {
    throw new Error(`bundling: ${warnings[0].text}`);
  }
  const text = (ext) => outputFiles.filter((f) => f.path.endsWith(ext)).map((f) => f.text).join('\n');
  return { js: text('.js'), css: text('.css') };
}
