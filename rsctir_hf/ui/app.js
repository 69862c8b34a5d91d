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
    const across = cards.filter((each) => each.offsetTop === cards[0].offsetTop).length || 1;
    const by = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across}[event.key];
    const ends = {Home: 0, End: cards.length - 1}[event.key];
    const next = cards[ends ?? cards.indexOf(card) + (by ?? NaN)];
    if (!next) return;
    next.focus();
    event.preventDefault();
  }

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const box = opened();
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
    else if (event.target.closest('.rs-copy')) copy(event.target.closest('.rs-copy'));
    else if (event.target.closest('[role=tab]')) setTimeout(keepTab);
    else if (event.target.closest('#rs-options-switch')) toggleOptions();
    else return;
    if (event.target.matches('.rs-lightbox')) event.stopPropagation();
  });

  async function copy(button) {
    const box = button.closest('.rs-lightbox, .rs-code');
    const text = box.querySelector('[data-copy]')?.dataset.copy ?? box.querySelector('code').innerText;
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

  return {address, arrive, select, follow, dress, keepTab, take};
})();
