//! Headings, column titles and the names of closed sets.

use super::messages;

messages! {
    /// A heading, a column's title, or the name of a member of a closed set.
    pub(crate) Label {
        Title "Report on the placement of personal data" "Отчёт о размещении персональных данных";
        Contents "Contents" "Содержание";
        Generated "Made at" "Составлен";
        // sections
        About "What this is, and how to verify it" "Назначение отчёта и порядок его проверки";
        Sites "Sites" "Площадки размещения";
        Statutes "Statutes in force" "Применённые нормы права";
        Records "Records by jurisdiction, region and month" "Записи по юрисдикциям, регионам и месяцам";
        Order "Order of writes and transfers" "Порядок записи и трансграничная передача";
        Refusals "Refusals" "Отказы в записи";
        Erasures "Erasures" "Уничтожение персональных данных";
        Accesses "Accesses" "Доступ к персональным данным";
        Maps "History of the region map" "История карты регионов";
        Events "Keys, backups, exports and periods of the log" "Ключи, резервные копии, выгрузки и периоды журнала";
        Gaps "Gaps and unverified parts" "Пробелы и непроверенные части";
        Sources "Sources of the figures" "Источники показателей";
        // tables
        LogsGiven "Logs given" "Представленные журналы";
        Collections "Collections" "Категории записей";
        Transfers "Copies, moves, and placements under a clause" "Копирование, перенос и размещение на основании условия передачи";
        Found "First writes of copies" "Первичные записи копий";
        Clauses "Transfer clauses" "Условия передачи";
        MapsGiven "Maps given" "Представленные карты";
        MapsTaken "Maps taken, by log" "Принятие карт журналами";
        EventsListed "Events" "События";
        Exports "Exports" "Выгрузки";
        LateListed "Erasures after their deadline" "Уничтожения с нарушением срока";
        // columns
        Source "Source" "Источник";
        Log "Log" "Журнал";
        Origin "Origin" "Наименование журнала (origin)";
        Region "Region" "Регион";
        Shard "Shard" "Сегмент";
        Size "Entries" "Число строк";
        Root "Root (SHA-256)" "Корневой хеш (SHA-256)";
        Vkey "Log key" "Ключ проверки журнала";
        Verified "Verified" "Проверка";
        Checkpoint "Checkpoint" "Контрольная точка";
        InPeriod "Entries in the period" "Строк за период";
        Span "First and last entry" "Первая и последняя строки";
        Territory "Territory" "Территория";
        Address "Postal address" "Почтовый адрес";
        Operator "Data-centre operator" "Оператор центра обработки данных";
        Contract "Contract" "Договор";
        Register "Register entry" "Запись в реестре";
        Attestation "Attestation of location" "Подтверждение местонахождения";
        Until "Valid until" "Действует по";
        InMaps "In maps" "В картах";
        Since "Taken since" "Применяется с";
        Jurisdiction "Jurisdiction" "Юрисдикция";
        Statute "Statute pack" "Пакет норм";
        LawTitle "What it demands" "Содержание требования";
        Citation "Citation" "Норма права";
        InForce "In force" "Срок действия";
        Reading "Reading chosen" "Выбранное толкование";
        Settings "Settings" "Настройки";
        Marks "How well verified" "Степень проверки";
        Digest "Digest (SHA-256)" "Хеш (SHA-256)";
        Collection "Collection" "Категория записей";
        Category "Data" "Состав данных";
        Grounds "Grounds" "Правовое основание";
        Reads "Reads are" "Учёт чтений";
        Exempt "Exemptions" "Исключения";
        Measure "Count of" "Показатель";
        Transfer "Entry" "Вид строки";
        Peer "Other region" "Другой регион";
        Clause "Clause" "Условие передачи";
        FromTo "From, to" "Откуда, куда";
        LegalBasis "Legal basis" "Основание передачи";
        Importer "Importer" "Получатель";
        Reference "Number or reference" "Номер документа";
        Notified "Notified" "Дата уведомления";
        Holds "Holds" "Срок действия условия";
        Relied "Entries that rely on it" "Строк со ссылкой на условие";
        Finding "Finding" "Результат проверки";
        Number "Number" "Количество";
        Reason "Reason" "Причина";
        Outcome "Outcome" "Результат";
        Index "Entry" "Номер строки";
        Time "Time (UTC)" "Время (UTC)";
        Deadline "Deadline" "Срок исполнения";
        Role "Role" "Роль";
        Purpose "Stated purpose" "Заявленная цель";
        CallerTerritory "Caller's territory" "Территория запросившего";
        How "Noted" "Способ учёта";
        Epoch "Epoch" "Версия";
        Name "Name" "Название";
        Signers "Signers" "Кем подписана";
        Predecessors "Follows" "Предшествующая карта";
        Kind "Kind" "Событие";
        Said "What the entry says" "Содержание строки";
        // measures
        Created "subjects created without a record" "созданных субъектов без записей";
        Placed "records placed" "размещённых записей";
        Replaced "records replaced" "изменённых записей";
        Deleted "records deleted" "удалённых записей";
        Expired "records expired" "записей с истёкшим сроком";
        Erased "records erased with their subject" "записей, уничтоженных вместе с данными субъекта";
        MovedIn "records moved in" "записей, принятых при переносе";
        MovedOut "records moved out" "записей, выведенных при переносе";
        Live "records live at the month's end" "записей на конец месяца";
        // members of closed sets
        AllClasses "all" "все";
        NoLaw "no law attaches" "нормы не применяются";
        NotStated "cannot be told" "не установлено";
        Other "others together" "прочие вместе";
        NoneSaid "not stated" "не указано";
        AllCollections "all" "все";
        HomeFirst "the first write stands before the copy" "первичная запись внесена раньше копии";
        CopyFirst "the first write has a later time than the copy" "время первичной записи позже времени копии";
        NotShown "the first write was not found in the logs given" "первичная запись в представленных журналах не найдена";
        InTime "by the deadline" "в срок";
        Late "after the deadline" "с нарушением срока";
        NoDeadline "no deadline in the entry" "срок в строке не указан";
        Logged "each by an entry" "каждое отдельной строкой";
        Counted "by counts" "суммарно";
        Plan "question of a plan" "вопрос плана изменений";
        Writer "writer" "запись данных";
        Reader "reader" "чтение данных";
        Eraser "eraser" "уничтожение данных";
        OperatorRole "operator" "эксплуатация";
        Auditor "auditor" "аудит";
        ShardRole "shard" "сегмент хранилища";
        Seen "seen in a public page" "по открытому источнику";
        Weak "weak source" "по слабому источнику";
        Memory "from memory" "по памяти";
        Inference "inference" "вывод составителей";
        Draft "draft" "проект";
        Whole "whole log, by {0}" "журнал проверен полностью: {0}";
        Partly "in part, by {0}: {1}" "журнал проверен частично: {0}; {1}";
        Not "not verified: {0}" "журнал не проверялся: {0}";
        // charts
        LiveChart "Records live at the end of each month, by region" "Записи на конец месяца по регионам";
        ReadsChart "Reads by month and role" "Чтения по месяцам и ролям";
        RefusalsChart "Refusals by reason" "Отказы по причинам";
    }
}
