// What the page does by itself: grids and lightboxes by keyboard, and an address for what is shown.
// The server answers; nothing here asks another machine.
window.rsctir = (() => {
  const OPEN = '.rs-lightbox[data-open]';
  const NARROW = 640; // pixels: a phone
  const QUICK = 120; // milliseconds: of steps that follow faster, the last one counts
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const opened = () => document.querySelector(OPEN);
  let cameFrom = null; // the card whose lightbox is open
  let last = null; // the selection that is about to be sent
  let stepped = false; // opening it made a step in the history
  let stepBack = false; // the next step back is ours
  const senders = new Map(); // by element what asks the server
  let restoring = false; // what is asked for comes from the address

  const items = (grid) => all('[data-item]', grid);
  const gridOf = (box) => document.getElementById(box.dataset.grid);

  function mark(card) {
    all('.rs-chosen').forEach((each) => {
      each.classList.remove('rs-chosen');
      each.removeAttribute('aria-current');
    });
    card?.classList.add('rs-chosen');
    card?.setAttribute('aria-current', 'true');
    showMarks();
  }

  // The lightbox of a card opens at once; its content follows from the server.
  function open(card, grid) {
    const box = document.querySelector(`.rs-lightbox[data-grid="${grid.id}"]`);
    if (!box) return;
    cameFrom = card;
    mark(card);
    box.dataset.waiting = '';
    if ('open' in box.dataset) return;
    box.dataset.open = '';
    document.documentElement.classList.add('rs-still');
    box.querySelector('.rs-close')?.focus({preventScroll: true});
  }

  // Closed by the visitor, its step in the history is taken back; by an answer, it stays.
  function close(byAnswer = false) {
    const box = opened();
    if (!box) return;
    delete box.dataset.open;
    document.documentElement.classList.remove('rs-still');
    const grid = gridOf(box);
    const card = grid && items(grid).find((each) => each.classList.contains('rs-chosen'));
    (card ?? cameFrom)?.focus({preventScroll: true});
    const address = new URLSearchParams(location.search);
    if (byAnswer || !address.has('open')) return;
    if (stepped) {
      stepped = false;
      stepBack = true;
      history.back();
      return;
    }
    address.delete('open');
    history.replaceState(null, '', address.size ? `?${address}` : location.pathname);
  }

  // From a card of the open lightbox to its neighbour.
  function step(by) {
    const box = opened();
    const cards = box && gridOf(box) ? items(gridOf(box)) : [];
    const at = cards.findIndex((card) => card.classList.contains('rs-chosen'));
    const next = cards[at + by];
    if (at >= 0 && next) next.click();
  }

  function keepInside(event, box) {
    const stops = all('button, a[href], input, [tabindex="0"]', box).filter(
      (each) => !each.disabled && each.offsetParent !== null);
    if (!stops.length) return;
    const [first, last] = [stops[0], stops[stops.length - 1]];
    const outside = !box.contains(document.activeElement);
    if (event.shiftKey && (outside || document.activeElement === first)) last.focus();
    else if (!event.shiftKey && (outside || document.activeElement === last)) first.focus();
    else return;
    event.preventDefault();
  }

  // Arrows between the cards of a grid, as they lie on the screen.
  function move(event, card) {
    const cards = items(card.closest('[id^=rs-]'));
    const top = (each) => Math.round(each.getBoundingClientRect().top);
    const across = cards.filter((each) => top(each) === top(cards[0])).length || 1;
    const by = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across}[event.key];
    const ends = {Home: 0, End: cards.length - 1}[event.key];
    const next = cards[ends ?? cards.indexOf(card) + (by ?? NaN)];
    if (!next) return;
    next.focus();
    event.preventDefault();
  }

  // Marks and ticks of cards: the server keeps them, and the strip above the results says them.
  const ACTS = {g: 'good', b: 'bad', c: 'keep'};

  function act(card, kind) {
    const grid = card?.closest('#rs-results');
    const trigger = grid && [...senders].find(([element]) => grid.contains(element))?.[1];
    if (trigger) trigger('like', {item: Number(card.dataset.item), act: kind});
  }

  const large = () => opened()?.dataset.grid === 'rs-results'
    ? document.querySelector('#rs-results .rs-chosen') : null;

  function showMarks(element, watch) {
    const press = (root, key) => all('[data-act]', root).forEach((button) => button.setAttribute(
      'aria-pressed', all('#rs-marks [data-of]').some(
        ({dataset}) => dataset.of === key && dataset.kind === button.dataset.act)));
    const show = () => {
      all('#rs-results [data-key]').forEach((each) => press(each, each.dataset.key));
      const box = document.getElementById('rs-detail-acts');
      if (box) press(box, large()?.closest('[data-key]')?.dataset.key);
    };
    if (watch) watch('value', () => requestAnimationFrame(show));
    show();
  }

  // A box that is dragged over the map of places; a click without a drag asks for none.
  function drawBox(element, trigger) {
    let from = null;
    const at = (event, map) => {
      const {left, top, width, height} = map.getBoundingClientRect();
      return [(event.clientX - left) / width, (event.clientY - top) / height].map(
        (each) => Math.min(Math.max(each, 0), 1));
    };
    const sides = (one, other) => [Math.min(one, other), Math.max(one, other)];
    element.addEventListener('pointerdown', (event) => {
      const map = event.target.closest('.rs-places');
      if (!map) return;
      from = at(event, map);
      map.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    element.addEventListener('pointermove', (event) => {
      const map = element.querySelector('.rs-places');
      if (!from || !map) return;
      const to = at(event, map);
      const [[x0, x1], [y0, y1]] = [sides(from[0], to[0]), sides(from[1], to[1])];
      const {width, height} = map.viewBox.baseVal;
      map.querySelector('g').innerHTML = `<rect x="${x0 * width}" y="${y0 * height}" ` +
        `width="${(x1 - x0) * width}" height="${(y1 - y0) * height}"/>`;
    });
    element.addEventListener('pointerup', (event) => {
      const map = element.querySelector('.rs-places');
      if (!from || !map) return;
      const to = at(event, map);
      const [[x0, x1], [y0, y1]] = [sides(from[0], to[0]), sides(from[1], to[1])];
      const [west, south, east, north] = map.dataset.bounds.split(',').map(Number);
      from = null;
      const drawn = x1 - x0 > 0.005 || y1 - y0 > 0.005;
      trigger('select', {box: !drawn ? [] : [
        west + x0 * (east - west), north - y1 * (north - south),
        west + x1 * (east - west), north - y0 * (north - south)]});
    });
  }

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const box = opened();
    const typing = event.target.closest?.('input, textarea, [contenteditable], [role=listbox]');
    const kind = !typing && ACTS[event.key.toLowerCase()];
    const marked = box ? large() : document.activeElement?.closest?.('#rs-results li')
      ?.querySelector('[data-item]');
    if (kind && marked) {
      act(marked, kind);
      event.preventDefault();
      return;
    }
    if (box) {
      if (event.key === 'Escape') close();
      else if (event.key === 'ArrowRight') step(1);
      else if (event.key === 'ArrowLeft') step(-1);
      else if (event.key === 'Tab') keepInside(event, box);
      return;
    }
    const card = document.activeElement?.closest?.('.rs-grid [data-item], .rs-samples [data-item]');
    if (card) move(event, card);
  });

  document.addEventListener('click', (event) => {
    if (event.target.closest('.rs-close') || event.target.matches('.rs-lightbox')) close();
    else if (event.target.closest('.rs-before')) step(-1);
    else if (event.target.closest('.rs-after')) step(1);
    else if (event.target.closest('[data-act]')) {
      const button = event.target.closest('[data-act]');
      act(button.closest('li')?.querySelector('[data-item]') ?? large(), button.dataset.act);
    }
    else if (event.target.closest('.rs-link')) write(event.target.closest('.rs-link'), location.href);
    else if (event.target.closest('.rs-copy')) copy(event.target.closest('.rs-copy'));
    else if (event.target.closest('[role=tab]')) setTimeout(keepTab);
    else if (event.target.closest('#rs-options-switch')) toggleOptions();
    else return;
    if (event.target.matches('.rs-lightbox')) event.stopPropagation();
  });

  function copy(button) {
    const box = button.closest('.rs-lightbox, .rs-code');
    write(button, box.querySelector('[data-copy]')?.dataset.copy ?? box.querySelector('code').innerText);
  }

  async function write(button, text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // no secure context: the older way
      const area = Object.assign(document.createElement('textarea'), {value: text});
      button.after(area);
      area.select();
      document.execCommand('copy');
      area.remove();
      button.focus();
    }
    button.dataset.copied = ''; // the style says so
    setTimeout(() => { delete button.dataset.copied; }, 1500);
  }

  function toggleOptions() {
    const shown = document.getElementById('rs-options').toggleAttribute('data-open');
    document.getElementById('rs-options-switch').setAttribute('aria-expanded', shown);
  }

  // Parameters that gradio itself reads begin with two underscores; they stay.
  function withGradios(search) {
    const address = new URLSearchParams(search);
    for (const [name, value] of new URLSearchParams(location.search)) {
      if (name.startsWith('__')) address.append(name, value);
    }
    return address.size ? `?${address}` : location.pathname;
  }

  const ours = (search) => [...new URLSearchParams(search)]
    .filter(([name]) => !name.startsWith('__')).map((pair) => pair.join('=')).sort().join('&');

  // What the server has answered becomes the address, a step back where it is another question.
  function keep(search) {
    if (ours(search) === ours(location.search)) return;
    const [now, next] = [location.search, search].map((each) => new URLSearchParams(each));
    const moved = now.has('open') && next.has('open');
    history[moved ? 'replaceState' : 'pushState'](null, '', withGradios(search));
    if (!moved) stepped = next.has('open');
    now.delete('open');
    next.delete('open');
    if (ours(now) !== ours(next)) arrive('rs-message');
  }

  // On a phone the page stands at the answer once it is there.
  function arrive(id) {
    if (innerWidth > NARROW) return;
    requestAnimationFrame(() => document.getElementById(id)?.scrollIntoView());
  }

  function keepTab() {
    const tab = document.querySelector('#rs-tabs [role=tab][aria-selected=true]');
    const name = tab?.getAttribute('data-tab-id');
    const address = new URLSearchParams(location.search);
    if (!name || (address.get('tab') ?? 'search') === name) return;
    if (name === 'search') address.delete('tab');
    else address.set('tab', name);
    history.pushState(null, '', address.size ? `?${address}` : location.pathname);
  }

  // Called by the element that holds the address, with what asks the server.
  function follow(element, trigger, watch) {
    const ask = () => {
      restoring = true;
      trigger('select', {address: location.search});
    };
    watch('value', () => {
      const answered = element.querySelector('[data-address]');
      if (!answered) return;
      const wanted = answered.dataset.open;
      const restored = restoring;
      restoring = false;
      if (!wanted) close(true);
      else if (restored) setTimeout(() => restore(Number(wanted)), 50);
      else if (!opened()) return; // closed before the answer came
      keep(answered.dataset.address);
    });
    addEventListener('popstate', () => {
      if (stepBack) stepBack = false;
      else ask();
    });
    if (ours(location.search)) ask();
    else if (innerWidth > NARROW) document.querySelector('#rs-query :is(input, textarea)')?.focus();
  }

  function restore(rank) {
    const grid = document.getElementById('rs-results');
    const card = grid && items(grid)[rank - 1];
    if (card) open(card, grid);
    delete opened()?.dataset.waiting;
  }

  // A lightbox is a dialog once it is on the page; gradio's column cannot say so.
  function dress(element, watch, grid) {
    const box = element.closest('.rs-lightbox');
    watch('value', () => { delete box.dataset.waiting; });
    box.dataset.grid = grid;
    box.setAttribute('role', 'dialog');
    box.setAttribute('aria-modal', 'true');
    box.setAttribute('aria-label', 'The picture, large');
  }

  // An open result that fills another tab makes way for it.
  document.addEventListener('click', (event) => {
    if (event.target.closest('.rs-lightbox [id$=-graph], .rs-lightbox [id$=-similar]')) close(true);
  });

  // Called by what holds cards: a click opens the lightbox of that grid, if it has one.
  function select(element, trigger) {
    senders.set(element, trigger);
    new MutationObserver(() => showMarks()).observe(element, {childList: true, subtree: true});
    element.addEventListener('click', (event) => {
      const card = event.target.closest('[data-item]');
      if (!card) return;
      const step = opened() ? QUICK : 0;
      open(card, element.closest('[id^=rs-]'));
      clearTimeout(last);
      last = setTimeout(() => trigger('select', {item: Number(card.dataset.item)}), step);
    });
  }

  // Takes the file that the server has put into a button out of sight.
  function take(id) {
    setTimeout(() => {
      const place = document.getElementById(id);
      (place?.matches('a, button') ? place : place?.querySelector('a, button'))?.click();
    }, 100);
  }

  // Puts the address of this page in the place of what stands for it.
  function address(element, placeholder) {
    const code = element.querySelector('code');
    code.textContent = code.textContent.replace(placeholder, location.origin + location.pathname);
  }

  return {address, arrive, drawBox, showMarks, select, follow, dress, keepTab, take};
})();
