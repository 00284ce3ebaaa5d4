'use strict';
// The daemon sends the whole of what changes as HTML; only what differs is taken over, so that a button stays the same
// under the pointer, and text that is selected stays so.
const main = document.querySelector('main');
const live = document.querySelector('#live');
let events;

function become(there, wanted) {
  if (there.nodeName !== wanted.nodeName) return there.replaceWith(wanted);
  if (there.nodeType === Node.TEXT_NODE) {
    if (there.data !== wanted.data) there.data = wanted.data;
    return;
  }
  for (const { name } of [...there.attributes]) {
    if (!wanted.hasAttribute(name) && name !== 'open') there.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  }
  const atEnd = there.scrollHeight - there.scrollTop - there.clientHeight < 4;
  let next = there.firstChild;
  for (const child of [...wanted.childNodes]) {
    const same = child.id
      ? [...there.children].find(({ id }) => id === child.id)
      : next && !next.id && next.nodeName === child.nodeName && next;
    if (same && same === next) next = next.nextSibling;
    else there.insertBefore(same || child, next);
    if (same) become(same, child);
  }
  while (next) {
    const rest = next.nextSibling;
    next.remove();
    next = rest;
  }
  if (there.nodeName === 'PRE' && atEnd) there.scrollTop = there.scrollHeight;
}

function localTimes(root) {
  for (const time of root.querySelectorAll('time')) time.textContent = new Date(time.dateTime).toLocaleTimeString();
}

function say(text, good) {
  live.textContent = text;
  live.className = good ? 'good' : 'bad';
}

function listen() {
  events = new EventSource('/events');
  events.onopen = () => say('live', true);
  events.onmessage = ({ data }) => {
    const wanted = document.createElement('main');
    wanted.innerHTML = JSON.parse(data);
    localTimes(wanted);
    become(main, wanted);
  };
  events.onerror = () => {
    // Refused: the page that says why takes the place of this one.
    if (events.readyState === EventSource.CLOSED) location.reload();
    else say('no connection to the daemon; trying again', false);
  };
}

document.addEventListener('visibilitychange', () => {
  events.close();
  if (document.hidden) say('paused', false);
  else listen();
});
document.addEventListener('submit', (event) => {
  event.preventDefault();
  const { target } = event;
  const body = new URLSearchParams(new FormData(target));
  target.querySelector('button').disabled = true;
  fetch(target.action, { method: 'POST', body }).then(({ ok }) => ok || location.reload(), () => location.reload());
});
for (const pre of document.querySelectorAll('pre')) pre.scrollTop = pre.scrollHeight;
localTimes(document);
listen();
