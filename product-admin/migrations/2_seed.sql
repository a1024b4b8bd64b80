-- The shop's first range: 18 products, three of them sold out, one with exactly 10 units (the festival's fleece), and
-- one of which a single unit passes the payment limit of 1000.00 (the expedition tent).
-- The ids are fixed and short to read, so that examples and scripts can name a product.
insert into product (id, sku, name, description, price_minor, currency, status, initial_on_hand, on_hand, availability)
select id::uuid, sku, name, description, price_minor, 'EUR', 'ACTIVE', units, units, availability
from (values
    ('be1a0000-0000-4000-8000-000000000001', 'ROPE-60-95', 'Single rope 9.5 mm, 60 m',
     'Dry-treated single rope with a middle mark.', 18990::bigint, 500, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000002', 'ROPE-30-80', 'Half rope 8.0 mm, 30 m',
     'Light half rope for glaciers and ridges.', 8950, 300, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000003', 'HARNESS-ALP', 'Alpine harness',
     'Harness of 320 g that is put on over boots and skis.', 7495, 250, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000004', 'BELAY-TUBE', 'Belay device, tube',
     'Tube with a guide mode for one or two seconds.', 2990, 800, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000005', 'CARABINER-HMS', 'Locking carabiner HMS',
     'Pear-shaped carabiner with a screw gate.', 1290, 2000, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000006', 'QUICKDRAW-6', 'Quickdraws, set of 6',
     'Wire gates on slings of 12 cm.', 8490, 400, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000007', 'SLING-120', 'Sling 120 cm',
     'Sewn sling of aramid for anchors and threads.', 1150, 1500, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000008', 'HELMET-LITE', 'Climbing helmet',
     'Foam helmet of 205 g in one adjustable size.', 6995, 350, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000009', 'FLEECE-FEST', 'Festival fleece',
     'Limited edition of the mountain film festival.', 5900, 10, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000010', 'CRAMPON-12', 'Crampons, 12 points',
     'Steel crampons with a basket binding.', 13990, 180, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000011', 'AXE-60', 'Ice axe 60 cm',
     'Straight axe for tours on glaciers.', 8990, 220, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000012', 'TENT-EXP-4', 'Expedition tent for four',
     'Geodesic tent for high camps, with snow skirts.', 124900, 60, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000013', 'BAG-DOWN-20', 'Down sleeping bag, -20 °C',
     'Sleeping bag with 900 g of goose down.', 54900, 90, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000014', 'STOVE-GAS', 'Gas stove',
     'Folding stove of 73 g for screw cartridges.', 4495, 600, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000015', 'LAMP-450', 'Headlamp, 450 lumen',
     'Rechargeable headlamp with a lock for the rucksack.', 5995, 700, 'IN_STOCK'),
    ('be1a0000-0000-4000-8000-000000000016', 'BOOTS-B3', 'Double boots for winter',
     'Insulated boots for automatic crampons.', 64900, 0, 'OUT_OF_STOCK'),
    ('be1a0000-0000-4000-8000-000000000017', 'TRANSCEIVER-3', 'Avalanche transceiver',
     'Three antennas, with a group check.', 29900, 0, 'OUT_OF_STOCK'),
    ('be1a0000-0000-4000-8000-000000000018', 'MAP-MBLANC', 'Map of the Mont Blanc range, 1:25,000',
     'Tear-proof hiking and ski map.', 1690, 0, 'OUT_OF_STOCK')
) as seed (id, sku, name, description, price_minor, units, availability);
