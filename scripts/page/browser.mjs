// Chromium without a window, over the DevTools protocol on two pipes: it needs no package.
// https://chromedevtools.github.io/devtools-protocol/

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Stop } from '../lib/repository.mjs';

/** A cold start on a slow machine. */
const PATIENCE_MS = 60_000;

export class Browser {
  #child;
  #session;
  #waiting = new Map();
  #lastId = 0;
  #rest = '';

  /**
   * Starts it with one blank page.
   *
   * @param {string} program
   * @param {string} folder for its profile
   */
  static async start(program, folder) {
    const browser = new Browser();
    // Chromium's own sandbox does not let root in.
    const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const args = ['--headless', '--remote-debugging-pipe', `--user-data-dir=${folder}`, '--no-first-run', ...sandbox];
    browser.#child = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    browser.#child.on('error', (error) => browser.#end(error.message));
    browser.#child.on('exit', (code, signal) => browser.#end(`it ended with ${signal ?? code}`));
    browser.#child.stdio[3].on('error', () => {});
    browser.#child.stdio[4].setEncoding('utf8').on('data', (text) => browser.#receive(text));
    const { targetId } = await browser.#order('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await browser.#order('Target.attachToTarget', { targetId, flatten: true });
    browser.#session = sessionId;
    return browser;
  }

  /** The size of the window in CSS pixels, and the colours that the person prefers: `light` or `dark`. */
  async show(width, height, colours = 'light') {
    const mobile = width < 600;
    await this.#order('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile });
    const features = [{ name: 'prefers-color-scheme', value: colours }];
    await this.#order('Emulation.setEmulatedMedia', { features });
  }

  /** Shows no scrollbars from now on. */
  async hideScrollbars() {
    await this.#order('Emulation.setScrollbarsHidden', { hidden: true });
  }

  /** Whether pages opened from now on may run scripts. */
  async scripts(enabled) {
    await this.#order('Emulation.setScriptExecutionDisabled', { value: !enabled });
  }

  /** Opens an address and waits until the page has this title. */
  async open(url, title) {
    await this.#order('Page.navigate', { url });
    await this.titled(title);
  }

  /** Waits until the page has this title. */
  async titled(title) {
    await this.#until('document.readyState === "complete" ? document.title : ""', title);
  }

  /** Types into the field that has the focus, or gets it: it comes after the page is complete. */
  async type(text) {
    await this.#until('document.activeElement.tagName', 'INPUT');
    await this.#order('Input.insertText', { text });
  }

  async press(key, code) {
    const event = { key, code: key, windowsVirtualKeyCode: code, text: key === 'Enter' ? '\r' : undefined };
    await this.#order('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
    await this.#order('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  /** Clicks into the middle of what a CSS selector finds. */
  async click(selector) {
    const box = `(({ x, y, width, height }) => [x + width / 2, y + height / 2])`;
    const [x, y] = await this.evaluate(`${box}(document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect())`);
    for (const type of ['mousePressed', 'mouseReleased']) {
      await this.#order('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
    }
  }

  /** The value of an expression in the page. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.#order('Runtime.evaluate', { expression, returnByValue: true });
    if (exceptionDetails) throw new Stop(`${expression}: ${exceptionDetails.text}`);
    return result.value;
  }

  /** Writes what is to be seen as a PNG. */
  async picture(path) {
    const { data } = await this.#order('Page.captureScreenshot');
    writeFileSync(path, Buffer.from(data, 'base64'));
  }

  async close() {
    const exited = once(this.#child, 'exit');
    this.#child.kill();
    await exited;
  }

  async #until(expression, wanted) {
    let seen;
    for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(20)) {
      seen = await this.evaluate(expression).catch(() => '');
      if (seen === wanted) return;
    }
    throw new Stop(`the browser has ${JSON.stringify(seen)} and not ${JSON.stringify(wanted)} in ${expression}`);
  }

  #order(method, params = {}) {
    const id = ++this.#lastId;
    const sessionId = this.#session;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Stop(`the browser does not answer ${method}`)), PATIENCE_MS);
      this.#waiting.set(id, (message) => {
        clearTimeout(timer);
        if (message.error) reject(new Stop(`${method}: ${message.error.message}`));
        else resolve(message.result);
      });
      this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  #receive(text) {
    const messages = (this.#rest + text).split('\0');
    this.#rest = messages.pop();
    for (const message of messages.map((each) => JSON.parse(each))) {
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    }
  }

  #end(reason) {
    for (const settle of this.#waiting.values()) settle({ error: { message: `the browser: ${reason}` } });
    this.#waiting.clear();
  }
}
