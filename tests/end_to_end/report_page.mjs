// Opens a page of `supervisor report` in headless Chromium and prints what it sees as JSON. test_report.py starts it and judges.
//   node report_page.mjs PLAYWRIGHT AXE PAGE SCREENSHOTS
import {createRequire} from 'node:module';
import {readFileSync} from 'node:fs';

const [, , playwright, axe, page_file, screenshots] = process.argv;
const {chromium} = createRequire(import.meta.url)(playwright);
const page_timeout = {timeout: 120000, waitUntil: 'domcontentloaded'};
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium', timeout: 120000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const found = {requests: [], errors: [], dialogs: [], views: {}};

async function open(width, scheme, options = {}) {
  const context = await browser.newContext({viewport: {width, height: 900}, colorScheme: scheme, timezoneId: 'Asia/Tokyo', locale: 'en-GB', ...options});
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  page.on('request', request => { if (!request.url().startsWith('file://')) found.requests.push(request.url()); });
  page.on('pageerror', error => found.errors.push(error.message));
  page.on('console', message => { if (message.type() === 'error') found.errors.push(message.text()); });
  page.on('dialog', dialog => { found.dialogs.push(dialog.message()); dialog.dismiss(); });
  await page.goto('file://' + page_file, page_timeout);
  return page;
}

const axe_source = readFileSync(axe, 'utf8');
for (const scheme of ['light', 'dark']) {
  for (const width of [1280, 390]) {
    const page = await open(width, scheme);
    const view = found.views[`${width} ${scheme}`] = await page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      background: getComputedStyle(document.body).backgroundColor,
      verdict_bottom: document.querySelector('.verdict').getBoundingClientRect().bottom,
      first_lane_top: document.querySelector('.lane').getBoundingClientRect().top,
      last_lane_bottom: [...document.querySelectorAll('.lane')].pop().getBoundingClientRect().bottom,
      images: document.images.length,
      scripts: document.scripts.length,
      // The same time is at the same place in every track.
      axes: [...document.querySelectorAll('.track')].map(track => { const box = track.getBoundingClientRect(); return [box.left, box.width]; }),
      outside: [...document.querySelectorAll('h1, h2, h3, .verdict, .tiles li, .lane, .legend li')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length,
    }));
    await page.addScriptTag({content: axe_source});
    view.axe = await page.evaluate(async () => (await axe.run()).violations.map(v => `${v.id}: ${v.nodes.length} x ${v.nodes[0].html.slice(0, 200)}`));
    if (screenshots) await page.screenshot({path: `${screenshots}/report-${width}-${scheme}.png`});
    await page.context().close();
  }
}

// Hover and keyboard.
let page = await open(1280, 'light');
const tip = () => page.evaluate(() => { const t = document.getElementById('tip'); return t.hidden ? null : t.textContent; });
await page.locator('.m.s-outage, .m.s-unresponsive').first().hover({force: true});
found.hover = await tip();
found.hover_inside = await page.evaluate(() => { const b = document.getElementById('tip').getBoundingClientRect(); return b.left >= 0 && b.right <= innerWidth && b.top >= 0; });
await page.mouse.move(1, 1);
found.after_hover = await tip();
const track = page.locator('.track', {has: page.locator('.m.s-outage')}).first();  // it has several marks
await track.locator('[tabindex="0"]').first().focus();
found.focus = await tip();
await page.keyboard.press('ArrowRight');
found.arrow = await tip();
await page.keyboard.press('End');
found.end = await tip();
await page.keyboard.press('Home');
found.home = await tip();
await page.keyboard.press('Escape');
found.escape = await tip();
found.stops = await page.evaluate(() => [...document.querySelectorAll('.track')].map(track => track.querySelectorAll('[tabindex="0"]').length));
await page.locator('#outages time, #events time').first().hover();
found.time_title = await page.locator('#outages time, #events time').first().getAttribute('title');
found.rows = await page.locator('#events tbody tr:visible').count();
await page.locator('#filters [name=plugin]').selectOption({index: 1});
found.rows_of_plugin = await page.locator('#events tbody tr:visible').count();
await page.locator('#filters [name=word]').fill('no such word');
found.rows_of_word = await page.locator('#events tbody tr:visible').count();
found.shown = await page.locator('#shown').textContent();
await page.emulateMedia({media: 'print'});
found.print_overflow = await page.evaluate(() => [...document.querySelectorAll('.scroll')].filter(e => getComputedStyle(e).maxHeight !== 'none').length);
await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
found.print_closed = await page.locator('details:not([open])').count();
await page.context().close();

// Without scripts everything can be read.
page = await open(1280, 'light', {javaScriptEnabled: false});
found.without_script = {
  titles: await page.locator('.m > title').count(), marks: await page.locator('.m').count(), filters: await page.locator('#filters').isVisible(),
  rows: await page.locator('#events tbody tr').count(), tables: await page.locator('table').count(),
};
await browser.close();
console.log(JSON.stringify(found));
